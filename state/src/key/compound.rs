//! Keys made of keys: options and tuples.

use super::{Key, KeyError, take_array};

impl<K: Key> Key for Option<K> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.is_some().into());
        if let Some(key) = self {
            key.encode(out);
        }
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        out.push(self.is_some().into());
        if let Some(key) = self {
            key.encode_part(out);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes {
            [] => Err(KeyError::Short),
            [0] => Ok(None),
            [0, rest @ ..] => Err(KeyError::Trailing(rest.len())),
            [1, rest @ ..] => K::decode(rest).map(Some),
            _ => Err(KeyError::Invalid("option")),
        }
    }

    fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
        match take_array(bytes)? {
            [0] => Ok(None),
            [1] => K::decode_part(bytes).map(Some),
            _ => Err(KeyError::Invalid("option")),
        }
    }
}

macro_rules! tuple {
    ($($part:ident)* ; $last:ident) => {
        impl<$($part: Key,)* $last: Key> Key for ($($part,)* $last,) {
            #[allow(non_snake_case)]
            fn encode(&self, out: &mut Vec<u8>) {
                let ($($part,)* $last,) = self;
                $($part.encode_part(out);)*
                $last.encode(out);
            }

            #[allow(non_snake_case)]
            fn encode_part(&self, out: &mut Vec<u8>) {
                let ($($part,)* $last,) = self;
                $($part.encode_part(out);)*
                $last.encode_part(out);
            }

            #[allow(unused_mut)]
            fn decode(mut bytes: &[u8]) -> Result<Self, KeyError> {
                Ok(($($part::decode_part(&mut bytes)?,)* $last::decode(bytes)?,))
            }

            fn decode_part(bytes: &mut &[u8]) -> Result<Self, KeyError> {
                Ok(($($part::decode_part(bytes)?,)* $last::decode_part(bytes)?,))
            }
        }
    };
}

tuple!(; A);
tuple!(A; B);
tuple!(A B; C);
tuple!(A B C; D);
tuple!(A B C D; E);
tuple!(A B C D E; F);
