//! Addresses of both families in one shape: 128 bits, IPv4 as `::ffff:a.b.c.d`.

/// An address in network byte order, as four words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// An IPv4 address from its word in network byte order.
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), word])
    }

    /// From the 16 bytes of an IPv6 address.
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let mut words = [0u32; 4];
        let mut i = 0;
        while i < 4 {
            words[i] = u32::from_ne_bytes([
                octets[4 * i],
                octets[4 * i + 1],
                octets[4 * i + 2],
                octets[4 * i + 3],
            ]);
            i += 1;
        }
        Self(words)
    }

    /// The address as 16 bytes.
    pub const fn octets(self) -> [u8; 16] {
        let mut out = [0u8; 16];
        let mut i = 0;
        while i < 4 {
            let word = self.0[i].to_ne_bytes();
            let mut j = 0;
            while j < 4 {
                out[4 * i + j] = word[j];
                j += 1;
            }
            i += 1;
        }
        out
    }
}

/// A prefix: an address matches when `address & mask == network`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Network, network byte order, host bits zero.
    pub network: Address,
    /// Mask, network byte order.
    pub mask: Address,
}

impl Prefix {
    /// No address is in it: what unused entries of a rule hold.
    pub const NONE: Self = Self {
        network: Address([1; 4]),
        mask: Address([0; 4]),
    };

    /// The prefix of `bits` leading bits (0..=128) of an address; IPv4 prefixes count from 96.
    pub const fn new(address: Address, bits: u32) -> Self {
        let mut mask = [0u32; 4];
        let mut network = [0u32; 4];
        let mut i = 0;
        while i < 4 {
            let start = 32 * i as u32;
            let ones = bits.saturating_sub(start);
            mask[i] = if ones >= 32 { u32::MAX } else { !(u32::MAX >> ones) }.to_be();
            network[i] = address.0[i] & mask[i];
            i += 1;
        }
        Self {
            network: Address(network),
            mask: Address(mask),
        }
    }

    /// Whether the address is in the prefix.
    #[inline(always)]
    pub const fn contains(&self, address: &Address) -> bool {
        let (n, m, a) = (&self.network.0, &self.mask.0, &address.0);
        ((a[0] & m[0]) ^ n[0]) | ((a[1] & m[1]) ^ n[1]) | ((a[2] & m[2]) ^ n[2]) | ((a[3] & m[3]) ^ n[3]) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};
    use proptest::prelude::*;

    fn v4(a: Ipv4Addr) -> Address {
        Address::v4(u32::from_ne_bytes(a.octets()))
    }

    #[test]
    fn an_ipv4_address_is_mapped() {
        let a: Ipv4Addr = "192.0.2.1".parse().unwrap();
        assert_eq!(v4(a), Address::from_octets(a.to_ipv6_mapped().octets()));
        assert_eq!(IpAddr::from(v4(a).octets()).to_canonical(), IpAddr::V4(a));
    }

    proptest! {
        #[test]
        fn a_prefix_agrees_with_integer_arithmetic(a: u128, b: u128, bits in 0u32..=128) {
            let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
            let p = Prefix::new(Address::from_octets(a.to_be_bytes()), bits);
            let near = (a & mask) | (b & !mask);
            prop_assert!(p.contains(&Address::from_octets(near.to_be_bytes())));
            prop_assert_eq!(p.contains(&Address::from_octets(b.to_be_bytes())), b & mask == a & mask);
        }
    }
}
