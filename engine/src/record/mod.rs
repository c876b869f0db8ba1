//! Record types for text: [`Line`] shares its block, [`Word`] is small and copied without allocation.

mod line;
mod word;

pub use line::Line;
pub use word::Word;
