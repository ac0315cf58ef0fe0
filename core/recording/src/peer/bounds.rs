//! Bounds that are kept while a text or a list is read, and not after.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// A text of at most `MAX` bytes.
pub(super) fn text<'de, D: Deserializer<'de>, const MAX: usize>(from: D) -> Result<String, D::Error> {
    struct Text<const MAX: usize>;

    impl<const MAX: usize> Visitor<'_> for Text<MAX> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a text of at most {MAX} bytes")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            if text.len() > MAX { Err(E::invalid_length(text.len(), &self)) } else { Ok(text.to_owned()) }
        }
    }
    from.deserialize_str(Text::<MAX>)
}

/// The same, or nothing.
pub(super) fn optional<'de, D: Deserializer<'de>, const MAX: usize>(
    from: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text<MAX>>::deserialize(from)?.map(|text| text.0))
}

/// A list of at most `MAX` items.
pub(super) fn list<'de, D, T, const MAX: usize>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() >= MAX {
                    return Err(de::Error::invalid_length(MAX.saturating_add(1), &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    from.deserialize_seq(List::<T, MAX>(PhantomData))
}

/// Texts of at most `BYTES` bytes each, at most `MAX` of them.
pub(super) fn texts<'de, D: Deserializer<'de>, const MAX: usize, const BYTES: usize>(
    from: D,
) -> Result<Vec<String>, D::Error> {
    Ok(list::<D, Text<BYTES>, MAX>(from)?.into_iter().map(|text| text.0).collect())
}

/// A text of at most `MAX` bytes, as an item.
struct Text<const MAX: usize>(String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text::<D, MAX>(from).map(Self)
    }
}
