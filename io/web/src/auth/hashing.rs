//! Hashes of passwords: argon2id (RFC 9106) in PHC strings, computed in memory that is kept for the next one.
//!
//! Each takes 19 MiB, on whatever thread is free. An allocator keeps for each thread what that thread freed: after a thousand
//! guesses 630 MiB were measured. So the memory is no thread's.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::AuthError;

/// Rooms that are kept: as many as passwords are checked at a time.
const ROOMS_MAX: usize = super::CHECKS_MAX;

/// Bytes of a salt, as RFC 9106 §3.1 recommends.
const SALT_BYTES: usize = 16;

/// Memory that nobody computes in at the moment.
static ROOMS: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// The PHC string of a password. Takes some 20 ms of a core and 19 MiB.
pub(super) fn hash(password: &str) -> Result<String, AuthError> {
    let failed = |what: String| AuthError::Hash { what };
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| failed(error.to_string()))?;
    let argon = Argon2::default();
    let mut computed = [0; Params::DEFAULT_OUTPUT_LEN];
    compute(&argon, password, &salt, &mut computed).map_err(|error| failed(error.to_string()))?;
    let text = || {
        let hash = PasswordHash {
            algorithm: Algorithm::default().ident(),
            version: Some(Version::default().into()),
            params: ParamsString::try_from(argon.params())?,
            salt: Some(Salt::new(&salt)?),
            hash: Some(Output::new(&computed)?),
        };
        Ok::<_, argon2::password_hash::Error>(hash.to_string())
    };
    text().map_err(|error| failed(error.to_string()))
}

/// Whether `password` is the one whose PHC string is `stored`. Takes as much as [`hash`] of what the string asks for.
pub(super) fn matches(password: &str, stored: &str) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else { return false };
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return false };
    let algorithm = Algorithm::try_from(stored.algorithm.as_str());
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from);
    let (Ok(algorithm), Ok(version), Ok(params)) = (algorithm, version, Params::try_from(&stored)) else {
        return false;
    };
    let mut computed = [0; Output::MAX_LENGTH];
    let Some(computed) = computed.get_mut(..expected.len()) else { return false };
    let argon = Argon2::new(algorithm, version, params);
    // Outputs are compared in constant time.
    compute(&argon, password, salt, computed).is_ok()
        && Output::new(computed).is_ok_and(|computed| computed == *expected)
}

/// Computes in a room that is free, or in another one.
fn compute(argon: &Argon2<'_>, password: &str, salt: &[u8], out: &mut [u8]) -> argon2::Result<()> {
    let free = || ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut room = free().pop().unwrap_or_default();
    room.resize(argon.params().block_count(), Block::new());
    let computed = argon.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut room);
    let mut rooms = free();
    if rooms.len() < ROOMS_MAX {
        rooms.push(room);
    }
    computed
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn the_strings_are_those_of_the_library_in_both_directions() {
        let ours = hash("correct horse").unwrap();
        assert!(ours.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{ours}");
        assert!(Argon2::default().verify_password(b"correct horse", ours.as_str()).is_ok());
        let theirs = Argon2::default().hash_password(b"correct horse").unwrap().to_string();
        for stored in [ours.as_str(), &theirs] {
            assert!(matches("correct horse", stored));
            assert!(!matches("correct hors", stored) && !matches("", stored));
        }
        assert_ne!(hash("correct horse").unwrap(), ours, "each has a salt of its own");
        // One that asks for less, as another version may have made it, in a room that has held more.
        let small = Argon2::new(Algorithm::Argon2d, Version::V0x10, Params::new(64, 3, 2, Some(24)).unwrap());
        let small = small.hash_password(b"battery staple").unwrap().to_string();
        assert!(matches("battery staple", &small) && !matches("correct horse", &small), "{small}");
        for broken in [
            "",
            "x",
            "$argon2id$v=19$m=19456,t=2,p=1$",
            "$argon2id$v=7$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
            "$5$x$y",
        ] {
            assert!(!matches("correct horse", broken), "{broken}");
        }
    }

    #[test]
    fn no_more_rooms_are_kept_than_are_used_at_a_time() {
        let stored = hash("correct horse").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| assert!(matches("correct horse", &stored)));
            }
        });
        assert!(ROOMS.lock().unwrap().len() <= ROOMS_MAX);
    }
}
