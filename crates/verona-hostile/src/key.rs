//! Dialback keys (XEP-0185).
//! Why our own: the kit issues keys as a server does, and forges those of a target whose secret it was told.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The key with which `sender` proves itself to `target` on the stream `id`, as hexadecimal digits.
#[must_use]
pub fn dialback_key(secret: &str, target: &str, sender: &str, id: &str) -> String {
    let hashed = hex(&Sha256::digest(secret.as_bytes()));
    let message = format!("{target} {sender} {id}");
    // HMAC takes a key of any length; a key that it did not take would make no key at all, and no peer believes that.
    Hmac::<Sha256>::new_from_slice(hashed.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(message.as_bytes());
            hex(&mac.finalize().into_bytes())
        },
    )
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An id that nobody guesses: 128 random bits.
///
/// # Errors
/// The system gives no randomness.
pub fn random_id() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        //= DB-02
        assert_eq!(
            dialback_key(
                "s3cr3tf0rd14lb4ck",
                "xmpp.example.com",
                "example.org",
                "D60000229F"
            ),
            "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"
        );
    }
}
