//! Rules and what they come to, on a few commands.

use proptest::prelude::*;

use super::rights::RuleError;
use super::*;
use crate::commands::table;

fn catalog() -> &'static Catalog {
    table::catalog()
}

fn none() -> Rights {
    Rights::none(catalog(), false)
}

/// Rights after rules, which are in order.
fn rights(rules: &[&str]) -> Rights {
    let mut rights = none();
    for rule in rules {
        rights.apply(rule.as_bytes(), catalog(), false).unwrap();
    }
    rights
}

fn again(rights: &Rights) -> Rights {
    let text = rights.describe(true);
    let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
    let mut again = none();
    for rule in join_selectors(&words).unwrap() {
        again.apply(&rule, catalog(), false).unwrap();
    }
    again
}

#[test]
fn rules_that_are_void_are_not_shown() {
    for (rules, shown) in [
        (&["+@all", "-get", "+get"][..], "off resetchannels +@all +get"),
        (&["+config|get", "+config|set", "-config"], "off resetchannels -@all -config"),
        (&["+select|0", "+select"], "off resetchannels -@all +select"),
        (&["~a", "%R~b", "%W~b", "%W~c", "&x"], "off ~a ~b %W~c resetchannels &x -@all"),
        (&["db=2,1", "(+get ~x)"], "off resetchannels db=1,2 -@all (~x resetchannels -@all +get)"),
        (&["on", "nopass", "allkeys", "allchannels", "allcommands"], "on nopass ~* &* +@all"),
    ] {
        assert_eq!(String::from_utf8(rights(rules).describe(false)).unwrap(), shown, "{rules:?}");
    }
}

#[test]
fn all_is_allowed_only_where_nothing_is_left_out() {
    let is_free = |rules: &[&str]| rights(rules).are_all(catalog());
    assert!(Rights::all(catalog()).are_all(catalog()));
    assert!(is_free(&["+@all", "~*", "&*"]) && is_free(&["+@all", "-get", "+get", "~*", "&*"]));
    assert!(is_free(&["-@all", "(+@all ~* &*)"]));
    for rules in [
        &["+@all", "~*", "&*", "-get"][..],
        &["+@all", "~*", "&*", "-config|get"],
        &["+@all", "%R~*", "&*"],
        &["+@all", "~*"],
        &["+@all", "~*", "&*", "db=0"],
        &["~*", "&*", "(+@all)"],
    ] {
        assert!(!is_free(rules), "{rules:?}");
    }
}

#[test]
fn passwords_are_kept_as_their_hashes() {
    let mut user = rights(&["on", ">secret", ">other", "<other"]);
    assert!(user.admits(b"secret") && !user.admits(b"other") && !user.admits(b""));
    assert_eq!(
        String::from_utf8(user.describe(false)).unwrap(),
        "on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b resetchannels -@all"
    );
    assert_eq!(user.apply(b"<other", catalog(), false), Err(RuleError::NoSuchPassword));
    assert_eq!(user.apply(&[b'#'; 65], catalog(), false), Err(RuleError::BadHash));
    user.apply(b"off", catalog(), false).unwrap();
    assert!(!user.admits(b"secret"));
    user.apply(b"nopass", catalog(), false).unwrap();
    assert!(!user.admits(b"anything"));
    user.apply(b"on", catalog(), false).unwrap();
    assert!(user.admits(b"anything"));
}

#[test]
fn a_file_says_everything_that_is_wrong_with_it() {
    let users = Users::new(catalog());
    let load = |text: &str| {
        let loaded = users.lock().load(text.as_bytes(), "f", catalog(), false);
        loaded.map(|anew| anew.gone.len()).map_err(|errors| String::from_utf8(errors).unwrap())
    };
    assert_eq!(load("user a on +get\n\nuser b off\nuser default on nopass ~* &* +@all\n"), Ok(0));
    let text = users.file_text();
    assert_eq!(
        String::from_utf8_lossy(&text),
        "user a on resetchannels -@all +get\nuser b off resetchannels -@all\nuser default on nopass ~* &* +@all\n"
    );
    let errors = load("user c on +nosuch +other >p x y\nfoo bar\nuser d\nuser d on\nuser e (+get ~x\n#\n");
    let expected = "f:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
                    f:1: Error in applying operation '+other': Unknown command or category name in ACL. \
                    f:1: Syntax error. f:2 should start with user keyword followed by the username. \
                    WARNING: Duplicate user 'd' found on line 4. f:5: Unmatched parenthesis in selector definition. \
                    f:6 should start with user keyword followed by the username. ";
    assert_eq!(errors, Err(expected.to_owned()));
    assert_eq!(users.file_text(), text);
    // Who is not in the file is gone, but for the default user, who is as at the beginning.
    users.lock().set(DEFAULT_USER, none());
    assert_eq!(load("user b on"), Ok(1));
    assert!(users.default_is_open() && users.find(b"a").is_none());
}

#[test]
fn refusals_that_are_alike_are_one_entry() {
    let mut log = log::Log::default();
    let mut add = |object: &str, now_ms: u64| {
        let entry = Entry {
            number: 0,
            count: 1,
            reason: "key",
            origin: Origin::TopLevel,
            object: object.into(),
            user: b"u".to_vec(),
            client: String::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        log.add(entry, 3);
        let shown = |entry: &Entry| (entry.number, entry.count, entry.created_ms, entry.updated_ms);
        log.newest(9).iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(add("a", 1), [(0, 1, 1, 1)]);
    assert_eq!(add("b", 2), [(1, 1, 2, 2), (0, 1, 1, 1)]);
    assert_eq!(add("a", 3), [(0, 2, 1, 3), (1, 1, 2, 2)]);
    assert_eq!(add("b", 70_000), [(2, 1, 70_000, 70_000), (0, 2, 1, 3), (1, 1, 2, 2)]);
    assert_eq!(add("c", 70_001), [(3, 1, 70_001, 70_001), (2, 1, 70_000, 70_000), (0, 2, 1, 3)]);
}

fn rule() -> impl Strategy<Value = String> {
    let name = (0..table::count()).prop_map(|id| table::all()[id].spec.name.to_owned());
    let category = (0..21_usize).prop_map(|at| {
        let names = crate::command::spec::Categories::all();
        format!("@{}", names[at % names.len()].1)
    });
    let sign = prop_oneof!["\\+", "-"].prop_map(|sign| sign.replace('\\', ""));
    prop_oneof![
        4 => (sign.clone(), name.clone()).prop_map(|(sign, name)| sign + &name),
        2 => (sign, category).prop_map(|(sign, name)| sign + &name),
        2 => (name, "[a-c]{1,2}").prop_map(|(name, word)| format!("+{name}|{word}")),
        2 => "(~|%R~|%W~|%RW~)[a-c*?]{0,3}",
        1 => "&[a-c*?]{0,3}",
        1 => "db=[0-9](,[0-9]){0,2}",
        1 => prop_oneof![
            Just("on"), Just("off"), Just("nopass"), Just("resetpass"), Just(">x"), Just("#x"), Just("<x"),
            Just("allkeys"), Just("resetkeys"), Just("allchannels"), Just("resetchannels"), Just("alldbs"),
            Just("resetdbs"), Just("allcommands"), Just("nocommands"), Just("clearselectors"),
        ]
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn what_is_shown_makes_the_same_rights(
        rules in prop::collection::vec(
            prop_oneof![
                3 => rule(),
                1 => prop::collection::vec(rule(), 0..4).prop_map(|rules| format!("({})", rules.join(" "))),
            ],
            0..12,
        )
    ) {
        let mut rights = none();
        for rule in &rules {
            let before = rights.clone();
            if rights.apply(rule.as_bytes(), catalog(), false).is_err() {
                prop_assert_eq!(&before, &rights);
            }
        }
        prop_assert_eq!(&again(&rights), &rights);
    }
}
