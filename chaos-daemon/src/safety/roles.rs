//! Who may do what: from the policy's `roles:`, or, without it, as the host's own means say.

use chaos_spec::SpecPath;
use chaos_spec::policy::{Account, LocatedPolicy, ROLE_URI, Role, Who};
use nix::unistd::{Gid, Group, Uid, User};

use super::{Caller, CertificatePeer, UnixPeer};

/// What somebody may do here, and which rule says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// None: nothing at all.
    pub role: Option<Role>,
    /// `policy.yaml:7:13: roles.viewer`
    pub rule: String,
}

impl Standing {
    fn new(role: Option<Role>, rule: impl Into<String>) -> Self {
        Self {
            role,
            rule: rule.into(),
        }
    }
}

/// What `caller` may do under `policy`.
pub fn standing(caller: &Caller, policy: Option<&LocatedPolicy>) -> Standing {
    match caller {
        Caller::Signal => Standing::new(
            Some(Role::Admin),
            "whoever may signal the daemon may do everything",
        ),
        Caller::Token { .. } => Standing::new(Some(Role::Viewer), "a token reads, and nothing else"),
        Caller::Unix(peer) if peer.uid == 0 => Standing::new(Some(Role::Admin), "root is admin"),
        Caller::Unix(peer) => match policy.filter(|policy| policy.policy.roles.is_some()) {
            Some(policy) => listed(policy, |who| is_user(peer, who)),
            None => Standing::new(
                Some(Role::Operator),
                "without roles in a policy whoever may open the socket is operator",
            ),
        },
        Caller::Certificate(peer) => of_certificate(peer, policy),
    }
}

fn of_certificate(peer: &CertificatePeer, policy: Option<&LocatedPolicy>) -> Standing {
    let roles = policy.and_then(|policy| Some((policy, policy.policy.roles.as_ref()?)));
    let Some((policy, roles)) = roles else {
        let role = said(&peer.alternatives);
        return Standing::new(
            role,
            match role {
                Some(role) => format!("its certificate says {ROLE_URI}{role}"),
                None => format!("its certificate names no role ({ROLE_URI}…)"),
            },
        );
    };
    let revoked = roles
        .revoked
        .iter()
        .position(|print| is_fingerprint(print, &peer.fingerprint));
    if let Some(place) = revoked {
        let rule = SpecPath::root().field("roles").field("revoked").index(place);
        return Standing::new(None, format!("{}: {rule}", policy.place(&rule)));
    }
    listed(policy, |who| {
        who.certificates
            .iter()
            .any(|name| *name == peer.name || peer.alternatives.contains(name))
    })
}

/// The first role, highest first, whose members `fits` finds the caller among.
fn listed(policy: &LocatedPolicy, fits: impl Fn(&Who) -> bool) -> Standing {
    let roles = policy.policy.roles.iter().flat_map(|roles| roles.descending());
    let found = roles.into_iter().find(|(_, who)| fits(who)).map(|(role, _)| role);
    let rule = match found {
        Some(role) => SpecPath::root().field("roles").field(role.word()),
        None => SpecPath::root().field("roles"),
    };
    Standing::new(found, format!("{}: {rule}", policy.place(&rule)))
}

fn is_user(peer: &UnixPeer, who: &Who) -> bool {
    let user = |account: &Account| match account {
        Account::Id(id) => *id == peer.uid,
        Account::Name(name) => {
            let found = User::from_name(name).ok().flatten();
            found.is_some_and(|user| user.uid == Uid::from_raw(peer.uid))
        }
    };
    let has = |gid: Gid| gid.as_raw() == peer.gid || peer.groups.contains(&gid.as_raw());
    let group = |account: &Account| match account {
        Account::Id(id) => has(Gid::from_raw(*id)),
        Account::Name(name) => {
            let found = Group::from_name(name).ok().flatten();
            found.is_some_and(|group| has(group.gid))
        }
    };
    who.users.iter().any(user) || who.groups.iter().any(group)
}

/// The highest role among a certificate's alternative names.
fn said(alternatives: &[String]) -> Option<Role> {
    [Role::Admin, Role::Approver, Role::Operator, Role::Viewer]
        .into_iter()
        .find(|role| {
            alternatives
                .iter()
                .any(|name| name.strip_prefix(ROLE_URI) == Some(role.word()))
        })
}

/// Fingerprints are compared as people write them: in either case, with or without colons.
fn is_fingerprint(written: &str, fingerprint: &str) -> bool {
    let plain = written.chars().filter(|letter| *letter != ':');
    plain
        .map(|letter| letter.to_ascii_lowercase())
        .eq(fingerprint.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(uid: u32, gid: u32) -> Caller {
        Caller::Unix(UnixPeer {
            uid,
            gid,
            groups: vec![gid, 77],
            ..UnixPeer::default()
        })
    }

    fn certificate(name: &str, alternatives: &[&str]) -> Caller {
        Caller::Certificate(CertificatePeer {
            name: name.to_owned(),
            alternatives: alternatives.iter().map(|name| (*name).to_owned()).collect(),
            fingerprint: "ab12".repeat(16),
            address: "192.0.2.7:4711".parse().unwrap(),
        })
    }

    fn policy(text: &str) -> LocatedPolicy {
        let text = format!("apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\n{text}");
        LocatedPolicy::parse("p.yaml", text.as_bytes()).unwrap()
    }

    #[test]
    fn without_roles_the_socket_and_the_certificate_decide() {
        assert_eq!(standing(&unix(0, 0), None).role, Some(Role::Admin));
        assert_eq!(standing(&unix(7, 8), None).role, Some(Role::Operator));
        let word = format!("{ROLE_URI}approver");
        assert_eq!(
            standing(&certificate("a", &[&word]), None).role,
            Some(Role::Approver)
        );
        assert_eq!(standing(&certificate("a", &["approver"]), None).role, None);
    }

    #[test]
    fn roles_are_what_the_policy_lists_and_nothing_else() {
        let policy = policy(
            "roles:\n  viewer:\n    groups: [77]\n  operator:\n    users: [7]\n    certificates: [alice]\n  \
             admin:\n    certificates: ['urn:chaos-daemon:role:admin']\n",
        );
        let role = |caller: &Caller| standing(caller, Some(&policy)).role;
        assert_eq!(role(&unix(7, 8)), Some(Role::Operator));
        assert_eq!(role(&unix(6, 8)), Some(Role::Viewer));
        assert_eq!(role(&unix(0, 0)), Some(Role::Admin));
        assert_eq!(role(&certificate("alice", &[])), Some(Role::Operator));
        assert_eq!(
            role(&certificate("mallory", &["urn:chaos-daemon:role:operator"])),
            None
        );
        assert_eq!(
            role(&certificate("carol", &["urn:chaos-daemon:role:admin"])),
            Some(Role::Admin)
        );
        let standing = standing(&unix(7, 8), Some(&policy));
        assert!(standing.rule.starts_with("p.yaml:6:"), "{standing:?}");
    }

    #[test]
    fn a_revoked_certificate_is_nobody() {
        let print = "AB:12".to_owned() + &":AB:12".repeat(15);
        let policy = policy(&format!(
            "roles:\n  operator:\n    certificates: [alice]\n  revoked: ['{print}']\n"
        ));
        let standing = standing(&certificate("alice", &[]), Some(&policy));
        assert_eq!(standing.role, None);
        assert!(standing.rule.contains("roles.revoked"), "{standing:?}");
    }
}
