//! Where a LUN is: `iscsi://[user@]host[:port]/target/lun`.

use std::fmt;
use std::str::FromStr;

/// Where the targets of a portal listen unless said otherwise (RFC 7143 §4.1).
const PORT: u16 = 3260;
/// Longest name of a target (RFC 7143 §4.2.7.1), and of a host.
const NAME_BYTES_MAX: usize = 223;
/// Largest number of a LUN in the single-level addressing that libiscsi sends.
const LUN_MAX: u16 = 255;

/// Where a LUN is. It never holds a password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Who logs in by CHAP; `None` logs in without.
    pub user: Option<String>,
    /// Name or address of the portal; an address of IPv6 without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The target, such as `iqn.2024-07.internal.site:nas`.
    pub target: String,
    /// The number of the LUN in the target.
    pub lun: u16,
}

/// Why a text is no address of a LUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins otherwise.
    #[error("the address of a LUN is iscsi://[user@]host[:port]/target/lun")]
    Form,
    /// A password stands in it, which everyone would see.
    #[error("an address has no password: write it into a file and name that as password_file")]
    Password,
    /// The host is none.
    #[error("the host of the LUN's address is missing or not possible")]
    Host,
    /// The port is none.
    #[error("the port of the LUN's address is not possible")]
    Port,
    /// The target's name is none.
    #[error("the target of the LUN's address is not a name such as iqn.2024-07.internal.site:nas")]
    Target,
    /// The number is none.
    #[error("the LUN of the address is not a number up to {LUN_MAX}")]
    Lun,
}

impl Address {
    /// Whether a text is meant as the address of a LUN.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("iscsi:")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("iscsi://").ok_or(AddressError::Form)?;
        let (portal, path) = rest.split_once('/').ok_or(AddressError::Form)?;
        let (target, lun) = path.rsplit_once('/').ok_or(AddressError::Form)?;
        let (user, portal) = match portal.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(AddressError::Password),
            Some((user, portal)) => (Some(user), portal),
            None => (None, portal),
        };
        if user.is_some_and(|user| !is_word(user)) {
            return Err(AddressError::Form);
        }
        let (host, port) = host_and_port(portal)?;
        let named = ["iqn.", "eui.", "naa."].iter().any(|kind| target.starts_with(kind));
        if !named || !is_word(target) || target.contains('/') {
            return Err(AddressError::Target);
        }
        let lun = lun.parse().ok().filter(|lun| *lun <= LUN_MAX).ok_or(AddressError::Lun)?;
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            target: target.to_owned(),
            lun,
        })
    }
}

fn host_and_port(portal: &str) -> Result<(&str, u16), AddressError> {
    let (host, port) = match portal.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(AddressError::Host)?;
            let port = if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':').ok_or(AddressError::Host)?)
            };
            (host, port)
        }
        None => match portal.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (portal, None),
        },
    };
    if !is_word(host) {
        return Err(AddressError::Host);
    }
    let port = match port {
        Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?,
        None => PORT,
    };
    Ok((host, port))
}

/// Whether a part can be a name: not empty, not endless, nothing that a log or a C string trips over.
fn is_word(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("iscsi://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port != PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}/{}", self.target, self.lun)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_read_and_shown_again() {
        for text in [
            "iscsi://nas/iqn.2024-07.internal.site:nas/1",
            "iscsi://edge@192.0.2.9:13260/iqn.2024-07.internal.site:nas/255",
            "iscsi://[2001:db8::9]/eui.0123456789abcdef/0",
            "iscsi://edge@[2001:db8::9]:3261/naa.52004567ba64678d/7",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        for (text, error) in [
            ("/srv/keepwatch", AddressError::Form),
            ("iscsi:nas", AddressError::Form),
            ("iscsi://nas/iqn.a:b", AddressError::Form),
            ("iscsi://edge:secret@nas/iqn.a:b/1", AddressError::Password),
            ("iscsi:///iqn.a:b/1", AddressError::Host),
            ("iscsi://nas:0/iqn.a:b/1", AddressError::Port),
            ("iscsi://nas:70000/iqn.a:b/1", AddressError::Port),
            ("iscsi://nas/disk/1", AddressError::Target),
            ("iscsi://nas/iqn.a b/1", AddressError::Target),
            ("iscsi://nas/iqn.a:b/256", AddressError::Lun),
            ("iscsi://nas/iqn.a:b/x", AddressError::Lun),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_with_a_password_is_taken(text in "\\PC{0,60}") {
            let _ = text.parse::<Address>();
            let with_password = format!("iscsi://u:{}@h/iqn.a:b/1", text.replace('/', ""));
            prop_assert!(with_password.parse::<Address>().is_err());
        }
    }
}
