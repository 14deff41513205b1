//! The help texts of all doors, in half their bytes: for the two bytes that stand side by side most often stands one above
//! those of ASCII, then for the next two, which may be such a one, and so on. The compiler packs them, as the words are
//! where their doors are; here they are unpacked. It knows the meaning of none.

// The compiler does all of this: what would be out of bounds does not compile.
#![allow(clippy::indexing_slicing, long_running_const_eval)]

use std::sync::OnceLock;

use super::{config_controller, containerpilot, options, reconfig, settings};

/// Whose help it is.
#[derive(Clone, Copy)]
pub enum Help {
    /// pilotfish's own.
    Pilotfish,
    /// confd's.
    Confd,
    /// config-controller's.
    ConfigController,
    /// reconfig's.
    Reconfig,
    /// ContainerPilot's.
    Containerpilot,
}

/// By `Help`.
const TEXTS: [&str; 5] = [options::HELP, settings::HELP, config_controller::HELP, reconfig::HELP, containerpilot::HELP];

/// So many pairs have a byte of their own: all that are above ASCII.
const MOST: usize = 128;

/// All texts, each with a zero behind it.
const WHOLE: usize = {
    let (mut size, mut t) = (0, 0);
    while t < TEXTS.len() {
        size += TEXTS[t].len() + 1;
        t += 1;
    }
    size
};

/// What is packed, in the room that it took before, its size, and what each byte above ASCII stands for.
const PACKED: ([u8; WHOLE], usize, [[u8; 2]; MOST]) = {
    let (mut all, mut size, mut pairs) = ([0; WHOLE], 0, [[0; 2]; MOST]);
    let mut t = 0;
    while t < TEXTS.len() {
        let text = TEXTS[t].as_bytes();
        let mut i = 0;
        while i < text.len() {
            assert!(text[i].is_ascii() && text[i] != 0, "a help is ASCII");
            all[size] = text[i];
            (i, size) = (i + 1, size + 1);
        }
        (t, size) = (t + 1, size + 1);
    }
    let mut n = 0;
    while n < MOST {
        let (mut seen, mut best, mut i) = ([0u16; 1 << 16], 0, 1);
        while i < size {
            // None has the end of a text in it.
            if all[i - 1] != 0 && all[i] != 0 {
                let pair = (all[i - 1] as usize) << 8 | all[i] as usize;
                seen[pair] += 1;
                if seen[pair] > seen[best] {
                    best = pair;
                }
            }
            i += 1;
        }
        pairs[n] = [(best >> 8) as u8, best as u8];
        let (mut from, mut to) = (0, 0);
        while from < size {
            let is_it = from + 1 < size && all[from] == pairs[n][0] && all[from + 1] == pairs[n][1];
            all[to] = if is_it { (MOST + n) as u8 } else { all[from] };
            from += if is_it { 2 } else { 1 };
            to += 1;
        }
        (n, size) = (n + 1, to);
    }
    (all, size, pairs)
};

static PAIRS: [[u8; 2]; MOST] = PACKED.2;

static BYTES: [u8; PACKED.1] = {
    let (mut bytes, mut i) = ([0; PACKED.1], 0);
    while i < bytes.len() {
        bytes[i] = PACKED.0[i];
        i += 1;
    }
    bytes
};

/// The text, as its door has it.
#[inline(never)]
pub fn text(of: Help) -> &'static str {
    static UNPACKED: OnceLock<String> = OnceLock::new();
    let all = UNPACKED.get_or_init(|| {
        let mut out = String::new();
        BYTES.iter().for_each(|byte| unpack(*byte, &mut out));
        out
    });
    all.split('\0').nth(of as usize).unwrap_or("")
}

/// What a byte stands for is made of bytes that were there before it: this ends.
fn unpack(byte: u8, out: &mut String) {
    match PAIRS.get(usize::from(byte).wrapping_sub(MOST)) {
        Some([a, b]) => {
            unpack(*a, out);
            unpack(*b, out);
        }
        None => out.push(char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_as_its_door_has_it() {
        let all = [Help::Pilotfish, Help::Confd, Help::ConfigController, Help::Reconfig, Help::Containerpilot];
        for (of, want) in all.into_iter().zip(TEXTS) {
            assert_eq!(text(of), want);
        }
        assert!(BYTES.len() * 2 < WHOLE, "{} of {WHOLE}", BYTES.len());
    }
}
