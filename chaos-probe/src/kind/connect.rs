use std::net::SocketAddr;

use crate::Fail;
use crate::net::{Connection, Net};

/// To the first address of a host that takes the connection.
pub(super) async fn connect(net: &dyn Net, host: &str, port: u16) -> Result<Connection, Fail> {
    let unknown = |why: String| Fail::Resolve {
        host: host.to_owned(),
        why,
    };
    let addresses = net
        .resolve(host)
        .await
        .map_err(|error| unknown(error.to_string()))?;
    let mut failed = unknown("it has no address".to_owned());
    for address in addresses {
        let to = SocketAddr::new(address, port);
        match net.connect(to).await {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                failed = Fail::Connect {
                    to,
                    why: error.to_string(),
                };
            }
        }
    }
    Err(failed)
}
