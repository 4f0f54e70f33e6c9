//! Addresses of both families in one shape: 128 bits, IPv4 as `::ffff:a.b.c.d`.

/// An address in network byte order, as two words: the kernel programs compare, hash and copy it by halves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u64; 2]);

/// Two words that follow one another in memory, as one.
#[inline(always)]
const fn join(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

impl Address {
    /// The address `::`.
    pub const UNSPECIFIED: Self = Self([0; 2]);

    /// An IPv4 address from its word in network byte order.
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self([0, join(0xffff_u32.to_be(), word)])
    }

    /// As four words in network byte order; the last is the IPv4 address.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        let [high, low] = self.0;
        if cfg!(target_endian = "little") {
            [high as u32, (high >> 32) as u32, low as u32, (low >> 32) as u32]
        } else {
            [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32]
        }
    }

    /// The word of an IPv4 address, network byte order.
    #[inline(always)]
    pub const fn v4_word(&self) -> u32 {
        self.words()[3]
    }

    /// From the 16 bytes of an IPv6 address.
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// The address as 16 bytes.
    pub const fn octets(self) -> [u8; 16] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) =
            (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
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
        network: Address([1; 2]),
        mask: Address::UNSPECIFIED,
    };

    /// The prefix of `bits` leading bits (0..=128) of an address; IPv4 prefixes count from 96.
    pub const fn new(address: Address, bits: u32) -> Self {
        let mut mask = [0u64; 2];
        let mut network = [0u64; 2];
        let mut i = 0;
        while i < 2 {
            let ones = bits.saturating_sub(64 * i as u32);
            mask[i] = if ones >= 64 { u64::MAX } else { !(u64::MAX >> ones) }.to_be();
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
        ((a[0] & m[0]) ^ n[0]) | ((a[1] & m[1]) ^ n[1]) == 0
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
