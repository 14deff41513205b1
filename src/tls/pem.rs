//! PEM (RFC 7468): the blocks of a text. What stands around them is skipped, as OpenSSL does.

use zeroize::Zeroizing;

use crate::base64;

/// One block.
pub struct Block {
    /// What stands behind `BEGIN`: `CERTIFICATE`, `PRIVATE KEY`.
    pub label: String,
    /// What is in it; `None` when that is no base64, or more than it (an encrypted key of the old kind has headers).
    pub der: Option<Zeroizing<Vec<u8>>>,
    /// It has a line which says that it is encrypted.
    pub is_encrypted: bool,
}

/// All blocks that have an end.
#[inline(never)]
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("-----BEGIN ") {
        let Some((label, behind)) = behind.split_once("-----") else { break };
        let end = ["-----END ", label, "-----"].concat();
        let Some((body, behind)) = behind.split_once(end.as_str()) else { break };
        let is_encrypted = body.contains("ENCRYPTED") || label.starts_with("ENCRYPTED");
        let der = base64::read(body.trim(), true).ok();
        found.push(Block { label: label.to_string(), der: der.map(Zeroizing::new), is_encrypted });
        rest = behind;
    }
    found
}
