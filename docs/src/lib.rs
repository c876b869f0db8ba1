//! The book, and the README: all Rust code in them is compiled and run as documentation tests.

/// Makes a documentation test of every code block in a text; a failure names the text.
macro_rules! texts {
    ($($name:ident: $path:literal),+ $(,)?) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            pub mod $name {}
        )+
    };
}

texts! {
    readme: "../../README.md",
    architecture: "../../ARCHITECTURE.md",
    introduction: "introduction.md",
    tutorial: "tutorial.md",
    guarantees: "guarantees.md",
    state: "state.md",
    running: "running.md",
    testing: "testing.md",
    proof: "proof.md",
    coordinator: "coordinator.md",
    trident: "trident.md",
}
