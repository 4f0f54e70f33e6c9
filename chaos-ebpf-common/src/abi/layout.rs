//! The sizes that both sides count on, and what lets userspace copy the values.

use super::*;

const _: () = {
    assert!(size_of::<Daemon>() == 24);
    assert!(size_of::<Side>() == 16);
    assert!(size_of::<Netns>() == 60);
    assert!(size_of::<ScopeKey>() == 16);
    assert!(size_of::<CellKey>() == 24);
    assert!(size_of::<Cell>() == 128);
    assert!(size_of::<Front<CellKey>>() == 32);
    assert!(size_of::<Front<ScopeKey>>() == 24);
    assert!(size_of::<Loss>() == 40);
    assert!(size_of::<Rule>() == 376);
    assert!(size_of::<BudgetedFlow>() == 16);
    assert!(size_of::<State>() == 16);
    assert!(size_of::<Counters>() == 112);
    assert!(size_of::<Tag>() == 136);
    assert!(size_of::<Newcomer>() == 16);
    assert!(size_of::<LineKey>() == 8);
    assert!(size_of::<Line>() == 16);
    assert!(size_of::<Entrance>() == 32);
    assert!(size_of::<LineNote>() == 72);
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<AddressKey>() == 20);
    assert!(size_of::<Http>() == 1576);
    assert!(size_of::<DnsName>() == 264);
    assert!(size_of::<Records>() == 232);
    assert!(size_of::<Dns>() == 4728);
    assert!(size_of::<Wait>() == 40);
    assert!(size_of::<Pace>() == 24);
    assert!(size_of::<Way>() == 40);
    assert!(size_of::<Cable>() == 88);
    assert!(size_of::<RequestKey>() == 24);
    assert!(size_of::<RequestMemory>() == 24);
};

#[cfg(feature = "user")]
mod pod {
    macro_rules! pod {
        ($($name:ty),*) => {$(
            // SAFETY: repr(C), Copy, explicit padding only, every bit pattern is a value (sizes asserted above).
            unsafe impl aya::Pod for $name {}
        )*};
    }
    pod!(
        super::Daemon,
        super::Netns,
        super::Scope,
        super::ScopeKey,
        super::CellKey,
        super::Cell,
        super::Front<super::CellKey>,
        super::Front<super::ScopeKey>,
        super::Rule,
        super::BudgetedFlow,
        super::State,
        super::Counters,
        super::Tag,
        super::Newcomer,
        super::LineKey,
        super::Line,
        super::FragmentKey,
        super::FlowKey,
        super::AddressKey,
        super::Wait,
        super::Cable,
        super::Http,
        super::Dns
    );
}
