//! What writers do to a ledger, and what goes wrong meanwhile.

use std::fmt;

use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

pub(crate) const WRITERS: usize = 3;

#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// A writer replaces the record.
    Write {
        writer: usize,
        on: On,
        large: bool,
        fault: Option<Fault>,
    },
    /// It sends its last write again.
    Again {
        writer: usize,
        fault: Option<Fault>,
    },
    Load {
        writer: usize,
    },
    /// Its process ends, and another takes its place.
    Restart {
        writer: usize,
    },
    /// What is late arrives.
    Arrive,
}

/// The version that a write expects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    /// The newest that anybody can know.
    Newest,
    /// The newest that this writer has heard of.
    Heard,
    /// So many before the newest.
    Older(u64),
    /// So many after it.
    Ahead(u64),
}

/// What happens to a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The connection breaks, or the process dies, before it is carried out; of a file that is written this share, in percent, is there.
    Before(usize),
    /// After it is carried out, and before the writer hears of it; so much of what is done beside it is there.
    After(usize),
    /// It is carried out later, by when its writer is another.
    Late,
    /// The medium refuses it.
    Refused,
}

#[derive(Clone, Default)]
pub(crate) struct Reference {
    /// What a crash while the ledger was made has left, in percent of it.
    pub(crate) debris: usize,
    /// Who has sent something.
    sent: [bool; WRITERS],
    /// Who must send it again before anything else.
    unsettled: [bool; WRITERS],
    late: usize,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a new ledger, made to {} % once before", self.debris)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, fault) = match self {
            Step::Write {
                writer,
                on,
                large,
                fault,
            } => {
                let size = if *large { " a large record" } else { "" };
                write!(f, "<{writer} writes{size} on {on:?}")?;
                (writer, fault)
            }
            Step::Again { writer, fault } => {
                write!(f, "<{writer} sends its write again")?;
                (writer, fault)
            }
            Step::Load { writer } => return write!(f, "<{writer} loads>"),
            Step::Restart { writer } => return write!(f, "<{writer} restarts>"),
            Step::Arrive => return f.write_str("<what is late arrives>"),
        };
        match fault {
            None => f.write_str(">"),
            Some(fault) => write!(f, "; FAULT of {at}: {fault:?}>"),
        }
    }
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    let fault = prop_oneof![
        3 => (0_usize..101).prop_map(Fault::Before),
        3 => (0_usize..101).prop_map(Fault::After),
        1 => Just(Fault::Late),
        1 => Just(Fault::Refused),
    ];
    prop_oneof![4 => Just(None), 1 => fault.prop_map(Some)]
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Reference> {
        let debris = prop_oneof![Just(0_usize), 0_usize..101];
        debris
            .prop_map(|debris| Reference {
                debris,
                ..Reference::default()
            })
            .boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        let on = prop_oneof![
            6 => Just(On::Newest),
            4 => Just(On::Heard),
            1 => (1_u64..4).prop_map(On::Older),
            1 => (1_u64..3).prop_map(On::Ahead),
        ];
        let write = (0..WRITERS, on, proptest::bool::weighted(0.2), fault());
        let write = write.prop_map(|(writer, on, large, fault)| Step::Write {
            writer,
            on,
            large,
            fault,
        });
        let again = (0..WRITERS, fault()).prop_map(|(writer, fault)| Step::Again { writer, fault });
        let steps = vec![
            (12, write.boxed()),
            (6, again.boxed()),
            (
                3,
                (0..WRITERS)
                    .prop_map(|writer| Step::Load { writer })
                    .boxed(),
            ),
            (
                1,
                (0..WRITERS)
                    .prop_map(|writer| Step::Restart { writer })
                    .boxed(),
            ),
            (4, Just(Step::Arrive).boxed()),
        ];
        let possible = state.clone();
        let steps = Union::new_weighted(steps);
        steps
            .prop_filter("it can happen now", move |step| {
                Reference::preconditions(&possible, step)
            })
            .boxed()
    }

    fn preconditions(state: &Reference, step: &Step) -> bool {
        match step {
            // Whoever does not know what became of a write sends no other.
            Step::Write { writer, .. } => !state.unsettled[*writer],
            Step::Again { writer, .. } => state.sent[*writer],
            Step::Load { .. } | Step::Restart { .. } => true,
            Step::Arrive => state.late > 0,
        }
    }

    fn apply(mut state: Reference, step: &Step) -> Reference {
        match step {
            Step::Write { writer, fault, .. } | Step::Again { writer, fault } => {
                state.sent[*writer] = true;
                state.unsettled[*writer] = fault.is_some();
                state.late += usize::from(matches!(fault, Some(Fault::Late)));
            }
            Step::Load { .. } => {}
            Step::Restart { writer } => state.unsettled[*writer] = false,
            Step::Arrive => state.late = 0,
        }
        state
    }
}
