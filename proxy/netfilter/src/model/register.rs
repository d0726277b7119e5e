//! Registers of the nf_tables machine.

use std::fmt;

/// A register: the verdict register, or one of sixteen 32-bit words.
///
/// The four legacy 128-bit registers NFT_REG_1..NFT_REG_4 are the words 0, 4, 8 and 12 under another
/// number: how many bytes an expression touches follows from the expression, not from the register. The
/// kernel itself reports word 0 as NFT_REG_1, hence one value for both here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(Option<u8>);

impl Register {
    /// The verdict register.
    pub const VERDICT: Self = Self(None);

    /// Number of 32-bit words.
    pub const WORDS: u8 = 16;

    /// NFT_REG32_00 + `index`.
    ///
    /// # Panics
    /// If there is no such word; meant for constants, where the compiler reports it.
    #[must_use]
    pub const fn word(index: u8) -> Self {
        assert!(index < Self::WORDS, "nf_tables has sixteen 32-bit registers");
        Self(Some(index))
    }

    /// The legacy 128-bit register NFT_REG_`number`, with `number` from 1 to 4.
    ///
    /// # Panics
    /// If there is no such register; meant for constants, where the compiler reports it.
    #[must_use]
    pub const fn legacy(number: u8) -> Self {
        assert!(number >= 1 && number <= 4, "the legacy registers are 1 to 4");
        Self(Some((number - 1) * 4))
    }

    /// Index of the first 32-bit word, none for the verdict register.
    #[must_use]
    pub const fn index(self) -> Option<usize> {
        match self.0 {
            Some(index) => Some(index as usize),
            None => None,
        }
    }

    /// The number on the wire, chosen as the kernel does when it dumps (nft_dump_register).
    #[must_use]
    pub const fn number(self) -> u32 {
        match self.0 {
            None => 0,
            Some(index) if index % 4 == 0 => index as u32 / 4 + 1,
            Some(index) => index as u32 + 8,
        }
    }

    /// The register with a number on the wire.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::VERDICT),
            1..=4 => Some(Self(Some((number as u8 - 1) * 4))),
            8..=23 => Some(Self(Some(number as u8 - 8))),
            _ => None,
        }
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("verdict"),
            Some(index) => write!(f, "r{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Register;

    #[test]
    fn numbers_are_the_kernels_and_come_back() {
        assert_eq!(Register::legacy(2), Register::word(4));
        assert_eq!(Register::word(0).number(), 1);
        assert_eq!(Register::word(1).number(), 9);
        for register in (0..16).map(Register::word).chain([Register::VERDICT]) {
            assert_eq!(Register::from_number(register.number()), Some(register));
        }
        assert_eq!(Register::from_number(8), Some(Register::word(0)));
        assert_eq!(Register::from_number(24), None);
    }
}
