//! The Internet checksum (RFC 1071), on 16-bit words as they stand in memory.

/// A running sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds one word, network byte order.
    #[inline(always)]
    pub fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds four bytes, network byte order.
    #[inline(always)]
    pub fn double(self, double: u32) -> Self {
        Self(self.0 + (double & 0xffff) as u64 + (double >> 16) as u64)
    }

    /// Adds a number that is in host byte order, as one word (a length, a protocol).
    #[inline(always)]
    pub fn number(self, number: u16) -> Self {
        self.word(number.to_be())
    }

    /// Adds a whole slice of words.
    #[inline(always)]
    pub fn words<const N: usize>(mut self, words: &[u16; N]) -> Self {
        let mut i = 0;
        while i < N {
            self = self.word(words[i]);
            i += 1;
        }
        self
    }

    /// The checksum field.
    #[inline(always)]
    pub fn fold(self) -> u16 {
        let mut sum = (self.0 & 0xffff) + (self.0 >> 16 & 0xffff) + (self.0 >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = [0x0001u16, 0xf203, 0xf4f5, 0xf6f7]
            .iter()
            .fold(Sum::default(), |s, w| s.number(*w));
        assert_eq!(u16::from_be(sum.fold()), !0xddf2);
    }

    proptest! {
        #[test]
        fn a_message_with_its_checksum_sums_to_zero(words: [u16; 12]) {
            let check = Sum::default().words(&words).fold();
            prop_assert_eq!(Sum::default().words(&words).word(check).fold(), 0);
        }

        #[test]
        fn a_double_is_its_two_words(a: u16, b: u16) {
            let both = u32::from_ne_bytes([a.to_ne_bytes()[0], a.to_ne_bytes()[1], b.to_ne_bytes()[0], b.to_ne_bytes()[1]]);
            prop_assert_eq!(Sum::default().double(both).fold(), Sum::default().word(a).word(b).fold());
        }
    }
}
