//! Which interfaces of a namespace a target means: the ones it names, or by default every one that can carry IP.

use chaos_spec::WarningKind;

use super::error::listing;
use super::link::{self, Link};
use super::visitor::LISTS;
use super::{Interface, Netns, Place, TargetError, stack};

/// How strictly to look: a new fault is refused for what a running one has to live with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    New,
    Running,
}

/// Namespaces with all their interfaces.
pub(super) type Listed = Vec<(Netns, Vec<Link>)>;

/// Every interface of every namespace. One that vanished meanwhile is left out.
///
/// # Errors
/// One cannot be looked into; for a new fault, one is gone.
pub(super) fn list(namespaces: Vec<Netns>, strictness: Strictness) -> Result<Listed, TargetError> {
    let found = LISTS.visit(&namespaces, link::list)?;
    let mut all = Vec::with_capacity(found.len());
    for (netns, links) in namespaces.into_iter().zip(found) {
        match links {
            Ok(Ok(links)) => all.push((netns, links)),
            Ok(Err(source)) => {
                return Err(TargetError::io(
                    format!("list the interfaces of {}", netns.label),
                    source,
                ));
            }
            Err(TargetError::NetnsGone { .. }) if strictness == Strictness::Running => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// The places of a target: each namespace with the interfaces that are meant.
///
/// # Errors
/// For a new fault: a name that is nowhere, an interface that is down, one whose frames cannot be parsed, the host's own
/// loopback, or nothing that is up. A running fault only loses such interfaces.
pub(super) fn places(
    all: Listed,
    names: &[String],
    strictness: Strictness,
) -> Result<(Vec<Place>, Vec<WarningKind>), TargetError> {
    let mut warnings = Vec::new();
    if strictness == Strictness::New && !all.is_empty() {
        if names.is_empty() {
            refuse_if_nothing_is_up(&all)?;
        }
        for name in names {
            warnings.extend(admit(name, &all)?);
        }
        warnings.extend(all.iter().filter_map(|(_, links)| stack::warning(links, names)));
    }
    let place = |(netns, links): (Netns, Vec<Link>)| {
        let meant = |link: &Link| {
            let interface = &link.interface;
            let named = names.contains(&interface.name);
            let by_default = names.is_empty() && !interface.loopback && !interface.covered;
            (named || by_default) && !(interface.loopback && netns.is_own) && link.link_type.can_be_parsed()
        };
        let interfaces = links
            .iter()
            .filter(|link| meant(link))
            .map(|link| link.interface.clone())
            .collect();
        Place { netns, interfaces }
    };
    Ok((all.into_iter().map(place).collect(), warnings))
}

/// Whether a named interface may be used, wherever it is.
fn admit(name: &str, all: &[(Netns, Vec<Link>)]) -> Result<Vec<WarningKind>, TargetError> {
    let mut found = Vec::new();
    for (netns, links) in all {
        found.extend(
            links
                .iter()
                .filter(|link| link.interface.name == name)
                .map(|link| (netns, link)),
        );
    }
    if found.is_empty() {
        return Err(TargetError::NoSuchInterface {
            name: name.to_owned(),
            place: labels(all),
            available: available(all),
        });
    }
    for (netns, link) in &found {
        if link.interface.loopback && netns.is_own {
            return Err(TargetError::OwnLoopback);
        }
        if !link.link_type.can_be_parsed() {
            return Err(TargetError::LinkType {
                name: name.to_owned(),
                place: netns.label.clone(),
                link_type: link.link_type.text(),
            });
        }
    }
    if let Some((netns, _)) = found.first()
        && found.iter().all(|(_, link)| !link.interface.up)
    {
        return Err(TargetError::InterfaceDown {
            name: name.to_owned(),
            place: netns.label.clone(),
            remedy: bring_up(netns, name),
        });
    }
    let down = found.iter().filter(|(_, link)| !link.interface.up);
    Ok(down
        .map(|(netns, _)| WarningKind::InterfaceDown {
            interface: format!("{name}@{}", netns.label),
        })
        .collect())
}

fn refuse_if_nothing_is_up(all: &[(Netns, Vec<Link>)]) -> Result<(), TargetError> {
    let candidates = || {
        let each = |(netns, links)| std::iter::repeat(netns).zip(links);
        all.iter()
            .map(|(netns, links): &(Netns, Vec<Link>)| (netns, links))
            .flat_map(each)
    };
    let outward = || candidates().filter(|(_, link): &(&Netns, &Link)| !link.interface.loopback);
    if outward().any(|(_, link)| link.interface.up && link.link_type.can_be_parsed()) {
        return Ok(());
    }
    // The one that is up would have been meant, had its frames an understood form.
    if let Some((netns, link)) = outward().find(|(_, link)| link.interface.up) {
        return Err(TargetError::LinkType {
            name: link.interface.name.clone(),
            place: netns.label.clone(),
            link_type: link.link_type.text(),
        });
    }
    Err(TargetError::NoInterfaceUp {
        place: labels(all),
        available: available(all),
    })
}

/// The command that brings it up, as one would type it.
fn bring_up(netns: &Netns, name: &str) -> String {
    if netns.is_own {
        return format!("ip link set {name} up");
    }
    match netns.label.split_once(':') {
        Some(("netns", netns)) => format!("ip -n {netns} link set {name} up"),
        _ => format!("nsenter --net={} ip link set {name} up", netns.entry.display()),
    }
}

fn labels(all: &[(Netns, Vec<Link>)]) -> String {
    listing(all.iter().map(|(netns, _)| netns.label.clone()), 4)
}

fn available(all: &[(Netns, Vec<Link>)]) -> String {
    let text = |interface: &Interface| match interface.up {
        true => interface.name.clone(),
        false => format!("{} (down)", interface.name),
    };
    listing(
        all.iter()
            .flat_map(|(_, links)| links)
            .map(|link| text(&link.interface)),
        12,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::link::LinkType;

    fn netns(inode: u64) -> Netns {
        Netns {
            dev: 4,
            inode,
            label: format!("netns:{inode}"),
            entry: "/run/netns/x".into(),
            is_own: false,
        }
    }

    fn link(name: &str, up: bool, arphrd: u16) -> Link {
        Link {
            interface: Interface {
                index: 2,
                name: name.to_owned(),
                up,
                loopback: false,
                kind: None,
                ethernet: arphrd == 1,
                covered: false,
                switched: false,
            },
            link_type: LinkType(arphrd),
            master: None,
            below: None,
        }
    }

    #[test]
    fn frames_that_cannot_be_parsed_are_refused_by_name_and_when_nothing_else_is_up() {
        let all = [(netns(1), vec![link("can0", true, 280), link("eth0", false, 1)])];
        let error = admit("can0", &all).unwrap_err().to_string();
        assert!(error.contains("link type CAN (ARPHRD 280)"), "{error}");
        assert!(matches!(
            refuse_if_nothing_is_up(&all),
            Err(TargetError::LinkType { .. })
        ));
        let raw = [(
            netns(1),
            vec![link("wg0", true, 0xfffe), link("wwan0", false, 519)],
        )];
        assert!(refuse_if_nothing_is_up(&raw).is_ok());
    }

    #[test]
    fn a_name_that_is_up_somewhere_is_admitted_with_a_warning() {
        let all = [
            (netns(1), vec![link("eth0", true, 1)]),
            (netns(2), vec![link("eth0", false, 1)]),
        ];
        let warnings = admit("eth0", &all).unwrap();
        assert_eq!(
            warnings,
            [WarningKind::InterfaceDown {
                interface: "eth0@netns:2".to_owned()
            }]
        );
        let error = admit("eth0", &all[1..]).unwrap_err().to_string();
        assert!(error.contains("ip -n 2 link set eth0 up"), "{error}");
    }
}
