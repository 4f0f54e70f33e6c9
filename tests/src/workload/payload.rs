//! Payloads that tell their own number and every bit that was changed on the way.

/// The number stands three times, so that it survives a flipped bit.
pub(super) const MIN: usize = 24;

/// `size` bytes, at least [`MIN`].
pub(super) fn fill(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    for _ in 0..3 {
        bytes.extend(number.to_be_bytes());
    }
    let mut state = number;
    while bytes.len() < size {
        // Steele et al.'s splitmix64: neighbouring numbers have nothing in common.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_be_bytes());
    }
    bytes.truncate(size.max(MIN));
    bytes
}

/// The number of a payload and how many of its bits are not as they were sent; `None`: not one of ours.
pub(super) fn check(bytes: &[u8]) -> Option<(u64, u32)> {
    let word =
        |at: usize| -> Option<u64> { Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
    let (a, b, c) = (word(0)?, word(8)?, word(16)?);
    let number = (a & b) | (a & c) | (b & c);
    let want = fill(number, bytes.len());
    Some((
        number,
        want.iter().zip(bytes).map(|(w, b)| (w ^ b).count_ones()).sum(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_counted_also_in_the_number_itself() {
        let sent = fill(77, 64);
        assert_eq!(check(&sent), Some((77, 0)));
        for bit in 0..sent.len() * 8 {
            let mut changed = sent.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&changed), Some((77, 1)), "bit {bit}");
        }
    }

    #[test]
    fn a_short_datagram_is_not_ours() {
        assert_eq!(check(b"short"), None);
    }
}
