use chaos_spec::{Endpoint, TcpProbe};

use super::connect::connect;
use crate::{Fail, Net, Reading};

pub(crate) struct Tcp(Endpoint);

impl Tcp {
    pub(super) fn new(probe: &TcpProbe) -> Self {
        Self(probe.address.clone())
    }

    pub(super) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        connect(net, self.0.host(), self.0.port()).await?;
        Ok(Reading::default())
    }
}
