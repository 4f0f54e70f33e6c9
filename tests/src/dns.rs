//! Messages of DNS, written down from RFC 1035 and 6891 and not from the product.

/// Types of record.
pub mod kind {
    pub const A: u16 = 1;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const ANY: u16 = 255;
}

/// Outcomes, as an answer gives them.
pub mod code {
    pub const FINE: u8 = 0;
    pub const SERVFAIL: u8 = 2;
    pub const NXDOMAIN: u8 = 3;
    pub const REFUSED: u8 = 5;
}

/// Length of a header.
const HEADER: usize = 12;
const INTERNET: u16 = 1;

/// A question, in the form of most resolvers: recursion desired, one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub id: u16,
    /// The second word of the header.
    pub flags: u16,
    /// Labels as on the wire, with the root.
    pub name: Vec<u8>,
    pub kind: u16,
    pub class: u16,
    /// What follows the question.
    pub edns: Vec<u8>,
}

/// A name on the wire.
pub fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a label"));
        wire.extend(label.bytes());
    }
    wire.push(0);
    wire
}

/// A name of so many bytes on the wire, at most 255, with this end.
///
/// # Panics
/// When no name has that length.
pub fn long_name(length: usize, end: &str) -> String {
    let mut left = length - wire(end).len();
    let mut name = String::new();
    while left > 0 {
        // Never a rest of one, which no label has.
        let label = match left {
            65 => 63,
            n => n.min(64),
        };
        name.push_str(&"x".repeat(label - 1));
        name.push('.');
        left -= label;
    }
    name.push_str(end);
    assert_eq!(wire(&name).len(), length, "{name}");
    name
}

impl Query {
    pub fn new(name: &str, kind: u16) -> Self {
        Self {
            id: 0x1234,
            flags: 0x0100,
            name: wire(name),
            kind,
            class: INTERNET,
            edns: Vec::new(),
        }
    }

    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// EDNS with a payload size of 1232, the DO bit, and a client's cookie.
    #[must_use]
    pub fn with_edns(mut self) -> Self {
        self.edns = vec![0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8];
        self.edns.extend(0x1122_3344_5566_7788_u64.to_be_bytes());
        self
    }

    /// EDNS with padding (RFC 7830) to so many bytes of message.
    ///
    /// # Panics
    /// When the message is longer than that already.
    #[must_use]
    pub fn padded_to(mut self, bytes: usize) -> Self {
        let room = bytes - self.bytes().len() - 15;
        let padding = u16::try_from(room).expect("a small message");
        self.edns = vec![0, 0, 41, 4, 208, 0, 0, 0, 0];
        self.edns.extend((padding + 4).to_be_bytes());
        self.edns.extend([0, 12]);
        self.edns.extend(padding.to_be_bytes());
        self.edns.resize(self.edns.len() + room, 0);
        self
    }

    fn question(&self) -> Vec<u8> {
        let mut bytes = self.name.clone();
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(self.class.to_be_bytes());
        bytes
    }

    fn header(&self, flags: u16, answers: u16) -> Vec<u8> {
        let more = u16::from(!self.edns.is_empty());
        [self.id, flags, 1, answers, 0, more]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    /// The message.
    pub fn bytes(&self) -> Vec<u8> {
        [self.header(self.flags, 0), self.question(), self.edns.clone()].concat()
    }

    /// The answer with this code and these addresses, each 4 or 16 bytes: what was asked and EDNS as they were, opcode,
    /// RD and CD kept, RA set.
    ///
    /// # Panics
    /// Never with such addresses.
    pub fn answer(&self, code: u8, ttl: u32, addresses: &[Vec<u8>]) -> Vec<u8> {
        let flags = 0x8080 | self.flags & 0x7910 | u16::from(code);
        let count = u16::try_from(addresses.len()).expect("few addresses");
        let mut bytes = [self.header(flags, count), self.question()].concat();
        for address in addresses {
            bytes.extend((0xc000 | HEADER as u16).to_be_bytes());
            bytes.extend(self.kind.to_be_bytes());
            bytes.extend(INTERNET.to_be_bytes());
            bytes.extend(ttl.to_be_bytes());
            bytes.extend(u16::try_from(address.len()).expect("short").to_be_bytes());
            bytes.extend(address);
        }
        bytes.extend(&self.edns);
        bytes
    }
}

/// The code in the header of an answer.
pub fn code_of(message: &[u8]) -> u8 {
    message.get(3).map_or(u8::MAX, |byte| byte & 0x0f)
}
