//! One question to one name server: UDP, and TCP when the answer does not fit.

use std::net::{IpAddr, SocketAddr};

use chaos_spec::{DnsProbe, RecordType as Wanted};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::system_conf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::net::Net;
use crate::prober::ProbeError;
use crate::{Fail, Reading};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Largest datagram that is read; there can be no larger one.
const MOST: usize = 65_535;

pub(crate) struct Dns {
    server: Option<SocketAddr>,
    query: Query,
    answers: Vec<IpAddr>,
}

impl Dns {
    pub(super) fn new(probe: &DnsProbe) -> Result<Self, ProbeError> {
        let mut name = Name::from_ascii(&probe.name).map_err(|_| ProbeError::Request(probe.name.clone()))?;
        name.set_fqdn(true);
        let record = match probe.record {
            Wanted::A => RecordType::A,
            Wanted::AAAA => RecordType::AAAA,
            Wanted::CNAME => RecordType::CNAME,
            Wanted::MX => RecordType::MX,
            Wanted::NS => RecordType::NS,
            Wanted::PTR => RecordType::PTR,
            Wanted::SOA => RecordType::SOA,
            Wanted::SRV => RecordType::SRV,
            Wanted::TXT => RecordType::TXT,
        };
        Ok(Self {
            server: probe.server.map(|server| server.0),
            query: Query::query(name, record),
            answers: probe.answers.clone(),
        })
    }

    pub(super) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        let server = match self.server {
            Some(server) => server,
            None => system_server()?,
        };
        // A number that others cannot guess; the clock will do on a host without randomness.
        let id = getrandom::u32().unwrap_or_else(|_| std::process::id()) as u16;
        let mut question = Message::new();
        question
            .set_id(id)
            .set_message_type(MessageType::Query)
            .set_op_code(OpCode::Query)
            .set_recursion_desired(true)
            .add_query(self.query.clone());
        let question = question
            .to_vec()
            .map_err(|error| Fail::Malformed(error.to_string()))?;
        let mut answer = self.by_datagram(net, server, id, &question).await?;
        if answer.truncated() {
            answer = self.by_stream(net, server, id, &question).await?;
        }
        self.check(&answer)
    }

    async fn by_datagram(
        &self,
        net: &dyn Net,
        server: SocketAddr,
        id: u16,
        question: &[u8],
    ) -> Result<Message, Fail> {
        let unreachable = |error: std::io::Error| Fail::Connect {
            to: server,
            why: error.to_string(),
        };
        let datagrams = net.datagrams(server).await.map_err(unreachable)?;
        // Dropped after the socket.
        let _pass = datagrams.pass;
        let socket = datagrams.socket;
        socket.send(question).await.map_err(unreachable)?;
        let mut buffer = vec![0; MOST];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(unreachable)?;
            let bytes = buffer.get(..length).unwrap_or_default();
            // Not our answer: somebody else's, or a late one. Ours may still come.
            if bytes.get(..2) == Some(&id.to_be_bytes()) {
                return self.read(bytes, id);
            }
        }
    }

    async fn by_stream(
        &self,
        net: &dyn Net,
        server: SocketAddr,
        id: u16,
        question: &[u8],
    ) -> Result<Message, Fail> {
        let broken = |error: std::io::Error| Fail::Broken(error.to_string());
        let connection = net.connect(server).await.map_err(|error| Fail::Connect {
            to: server,
            why: error.to_string(),
        })?;
        let _pass = connection.pass;
        let mut stream = connection.stream;
        let length = u16::try_from(question.len()).map_err(|_| Fail::TooLarge(MOST))?;
        let framed = [&length.to_be_bytes(), question].concat();
        stream.write_all(&framed).await.map_err(broken)?;
        let length = stream.read_u16().await.map_err(broken)?;
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.map_err(broken)?;
        self.read(&bytes, id)
    }

    fn read(&self, bytes: &[u8], id: u16) -> Result<Message, Fail> {
        let answer = Message::from_vec(bytes).map_err(|error| Fail::Malformed(error.to_string()))?;
        let is_ours = answer.id() == id
            && answer.message_type() == MessageType::Response
            && answer.queries().iter().any(|query| {
                query.name() == self.query.name() && query.query_type() == self.query.query_type()
            });
        if is_ours {
            Ok(answer)
        } else {
            Err(Fail::Malformed("it is not about the question".to_owned()))
        }
    }

    fn check(&self, answer: &Message) -> Result<Reading, Fail> {
        match answer.response_code() {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Err(Fail::Dns("NXDOMAIN".to_owned())),
            ResponseCode::ServFail => return Err(Fail::Dns("SERVFAIL".to_owned())),
            ResponseCode::Refused => return Err(Fail::Dns("REFUSED".to_owned())),
            other => return Err(Fail::Dns(other.to_string())),
        }
        let wanted = self.query.query_type();
        let found: Vec<_> = answer
            .answers()
            .iter()
            .filter(|record| record.record_type() == wanted)
            .collect();
        if found.is_empty() {
            return Err(Fail::Dns(format!("there are no {wanted} records")));
        }
        let addresses: Vec<IpAddr> = found
            .iter()
            .filter_map(|record| record.data().ip_addr())
            .collect();
        match self.answers.iter().find(|address| !addresses.contains(address)) {
            Some(missing) => Err(Fail::Lacks(missing.to_string())),
            None => Ok(Reading::default()),
        }
    }
}

fn system_server() -> Result<SocketAddr, Fail> {
    let none = |why: String| Fail::Resolve {
        host: RESOLV_CONF.to_owned(),
        why,
    };
    let text = std::fs::read_to_string(RESOLV_CONF).map_err(|error| none(error.to_string()))?;
    let (config, _) = system_conf::parse_resolv_conf(&text).map_err(|error| none(error.to_string()))?;
    let first = config.name_servers().first().map(|server| server.socket_addr);
    first.ok_or_else(|| none("it names no server".to_owned()))
}

#[cfg(test)]
mod tests {
    use chaos_fuzz::{cases, damaged, timed};
    use hickory_proto::rr::rdata::{A, CNAME};
    use hickory_proto::rr::{RData, Record};
    use proptest::prelude::*;

    use super::*;

    const ID: u16 = 0x1234;

    fn dns(name: &str) -> Result<Dns, ProbeError> {
        let probe = serde_json::json!({"name": name, "answers": ["10.0.0.7"]});
        Dns::new(&serde_json::from_value(probe).expect("a probe"))
    }

    /// Answers as a name server gives them: a sound one, one by a detour, and one that says no.
    fn answers() -> Vec<Vec<u8>> {
        let probe = dns("db.example.com").expect("a name");
        let name = probe.query.name().clone();
        let mut answer = Message::new();
        answer
            .set_id(ID)
            .set_message_type(MessageType::Response)
            .add_query(probe.query.clone());
        let mut no = answer.clone();
        no.set_response_code(ResponseCode::NXDomain);
        let address = |name| Record::from_rdata(name, 5, RData::A(A::new(10, 0, 0, 7)));
        let mut detour = answer.clone();
        let other = Name::from_ascii("other.example.com.").expect("a name");
        detour.add_answer(Record::from_rdata(
            name.clone(),
            5,
            RData::CNAME(CNAME(other.clone())),
        ));
        detour.add_answer(address(other));
        answer.add_answer(address(name));
        [answer, detour, no]
            .iter()
            .map(|message| message.to_vec().expect("a message"))
            .collect()
    }

    #[test]
    fn answers_are_read_and_every_cut_of_them_fails() {
        let probe = dns("db.example.com").expect("a name");
        let answers = answers();
        let said: Vec<_> = answers
            .iter()
            .map(|bytes| {
                probe
                    .read(bytes, ID)
                    .and_then(|answer| probe.check(&answer))
                    .is_ok()
            })
            .collect();
        assert_eq!(said, [true, true, false]);
        for end in 0..answers[0].len() {
            assert!(probe.read(&answers[0][..end], ID).is_err(), "cut at {end}");
        }
        assert!(probe.read(&answers[0], ID + 1).is_err(), "another question");
    }

    #[test]
    fn names_that_point_at_themselves_are_no_answer() {
        let probe = dns("db.example.com").expect("a name");
        let mut answer = answers().remove(0);
        // The name of the question begins behind the head, and here it is where it begins itself.
        answer[12..14].copy_from_slice(&[0xc0, 12]);
        let (read, took) = timed(|| probe.read(&answer, ID));
        assert!(
            read.is_err() && took < std::time::Duration::from_secs(1),
            "{took:?}"
        );
    }

    proptest! {
        #![proptest_config(cases(500))]
        #[test]
        fn damaged_answers_are_read_or_fail(bytes in damaged(answers())) {
            let probe = dns("db.example.com").expect("a name");
            let (said, took) = timed(|| probe.read(&bytes.0, ID).and_then(|answer| probe.check(&answer)));
            prop_assert!(took < std::time::Duration::from_secs(2), "{took:?}");
            if let Err(fail) = said {
                prop_assert!(!fail.to_string().is_empty());
            }
        }

        #[test]
        fn damaged_names_are_asked_for_or_refused(name in damaged(vec![b"db.example.com".to_vec(), b"a\\046b.\\\\x.".to_vec()])) {
            let _ = dns(&String::from_utf8_lossy(&name.0));
        }
    }
}
