//! The profile: changing it, and what others see.

use super::*;
use crate::limits;
use crate::protocol::frame::PresenceStatus;
use crate::protocol::problem::Code;
use crate::protocol::user::{Audience, Presence, Privacy, Profile, PublicProfile};

impl Fixture {
    fn patch(&mut self, device: &SignedIn, patch: &str) -> Result<Profile, Problem> {
        let call = UpdateProfile {
            device_id: device.device_id,
            patch: serde_json::from_str(patch).unwrap(),
        };
        self.service
            .update_profile(call, self.clock.now(), &mut Vec::new())
            .map_err(ServiceError::into_problem)
    }

    fn view(&mut self, viewer: UserId) -> PublicProfile {
        self.service
            .view_profile(ViewProfile { viewer }, START)
            .unwrap()
    }
}

#[test]
fn a_new_profile_is_empty_and_open() {
    let (mut fixture, device) = Fixture::signed_in();
    let call = GetProfile {
        device_id: device.device_id,
    };
    assert_eq!(
        fixture.service.get_profile(call).unwrap(),
        Profile {
            user_id: me(),
            phone_number: "+14155550100".parse().unwrap(),
            display_name: String::new(),
            status_message: String::new(),
            profile_pic_url: None,
            privacy: Privacy::default(),
            created_at: START,
        }
    );
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let (mut fixture, device) = Fixture::signed_in();
    fixture
        .patch(&device, r#"{"display_name":"Ada","status_message":"here"}"#)
        .unwrap();
    fixture
        .patch(&device, r#"{"profile_pic":"https://example.com/a.png"}"#)
        .unwrap();
    let silent = Privacy {
        read_receipts: false,
        ..Privacy::default()
    };
    let profile = fixture
        .patch(&device, r#"{"privacy":{"read_receipts":false}}"#)
        .unwrap();
    assert_eq!(profile.privacy, silent);
    let hidden = Privacy {
        last_seen: Audience::Nobody,
        ..silent
    };
    let profile = fixture
        .patch(&device, r#"{"privacy":{"last_seen":"nobody"}}"#)
        .unwrap();
    assert_eq!(profile.privacy, hidden);
    fixture.restart();
    let profile = fixture.patch(&device, r#"{"status_message":""}"#).unwrap();
    assert_eq!(
        (
            profile.display_name.as_str(),
            profile.status_message.as_str()
        ),
        ("Ada", "")
    );
    assert_eq!(
        profile.profile_pic_url.as_deref(),
        Some("https://example.com/a.png")
    );
    assert_eq!(profile.privacy, hidden);
    let profile = fixture.patch(&device, r#"{"profile_pic":null}"#).unwrap();
    assert_eq!(profile.profile_pic_url, None);
}

#[test]
fn a_patch_that_changes_nothing_writes_nothing() {
    let (mut fixture, device) = Fixture::signed_in();
    let sql = fixture.sql.clone();
    fixture.patch(&device, r#"{"display_name":"Ada"}"#).unwrap();
    for patch in [
        "{}",
        r#"{"display_name":"Ada"}"#,
        r#"{"privacy":{}}"#,
        r#"{"profile_pic":null}"#,
    ] {
        let (profile, cost) = sql.cost(|| fixture.patch(&device, patch).unwrap());
        assert_eq!(
            (profile.display_name.as_str(), cost.written),
            ("Ada", 0),
            "{patch}"
        );
    }
}

#[test]
fn an_invalid_patch_names_all_its_faults_and_changes_nothing() {
    let (mut fixture, device) = Fixture::signed_in();
    let before = fixture.sql.dump("SELECT * FROM profile");
    let problem = fixture
        .patch(&device, r#"{"display_name":" ","status_message":"a\u0007","profile_pic":"x","privacy":{"read_receipts":false}}"#)
        .unwrap_err();
    assert_eq!(problem.code, Code::InvalidRequest);
    let fields: Vec<_> = problem
        .errors
        .iter()
        .map(|error| error.field.as_str())
        .collect();
    assert_eq!(fields, ["display_name", "status_message", "profile_pic"]);
    assert_eq!(fixture.sql.dump("SELECT * FROM profile"), before);
}

#[test]
fn texts_are_limited_to_the_last_character() {
    let (mut fixture, device) = Fixture::signed_in();
    for (field, most) in [
        ("display_name", limits::NAME_CHARS),
        ("status_message", limits::STATUS_CHARS),
    ] {
        let patch = |chars: usize| format!(r#"{{"{field}":"{}"}}"#, "\u{e9}".repeat(chars));
        assert!(fixture.patch(&device, &patch(most)).is_ok());
        let problem = fixture.patch(&device, &patch(most + 1)).unwrap_err();
        assert_eq!(problem.errors[0].field, field);
    }
}

#[test]
fn a_picture_is_an_https_url() {
    let (mut fixture, device) = Fixture::signed_in();
    let mut accepts = |url: &str| {
        let patch = serde_json::json!({ "profile_pic": url }).to_string();
        fixture.patch(&device, &patch).is_ok()
    };
    let longest = format!("https://example.com/{}", "x".repeat(limits::URL_BYTES - 20));
    assert!(accepts("https://example.com/a.png?size=1#top"));
    assert!(accepts(&longest));
    for bad in [
        "",
        "https://",
        "https:///a.png",
        "https://?a",
        "http://example.com/a.png",
        "javascript:alert(1)",
        "//example.com/a.png",
        "https://example.com/a b.png",
        "https://example.com/\n",
        " https://example.com/",
        "https://example.com/\u{0}",
        &format!("{longest}x"),
    ] {
        assert!(!accepts(bad), "{bad:?}");
    }
}

#[test]
fn others_see_the_public_part_only() {
    let (mut fixture, device) = Fixture::signed_in();
    fixture
        .patch(&device, r#"{"display_name":"Ada","status_message":"here"}"#)
        .unwrap();
    let expected = PublicProfile {
        user_id: me(),
        display_name: "Ada".to_owned(),
        status_message: "here".to_owned(),
        profile_pic_url: None,
        presence: Some(Presence {
            status: PresenceStatus::Offline,
            last_seen: None,
        }),
    };
    assert_eq!(fixture.view(user(2)), expected);
    assert_eq!(fixture.view(me()), expected);
    let patch = r#"{"privacy":{"last_seen":"nobody"}}"#;
    fixture.patch(&device, patch).unwrap();
    assert_eq!(fixture.view(user(2)).presence, None);
    assert!(fixture.view(me()).presence.is_some());
}

#[test]
fn the_picture_is_shown_to_those_whom_the_settings_name() {
    let (mut fixture, device) = Fixture::signed_in();
    let (contact, silent, stranger) = (user(2), user(3), user(4));
    let with_contact = direct_summary(contact);
    fixture.deliver(
        &with_contact,
        &messages(with_contact.conversation_id, 1..=1),
    );
    fixture.deliver(&direct_summary(silent), &[]);
    // Sharing a group makes no contact.
    let shared_group = group_summary(1, "All");
    fixture.deliver(
        &shared_group,
        &[message(shared_group.conversation_id, 1, stranger)],
    );
    fixture
        .patch(&device, r#"{"profile_pic":"https://example.com/a.png"}"#)
        .unwrap();
    for (audience, expected) in [
        ("everyone", [true, true, true, true]),
        ("contacts", [true, true, false, false]),
        ("nobody", [true, false, false, false]),
    ] {
        let patch = format!(r#"{{"privacy":{{"profile_pic":"{audience}"}}}}"#);
        fixture.patch(&device, &patch).unwrap();
        let seen = [me(), contact, silent, stranger]
            .map(|viewer| fixture.view(viewer).profile_pic_url.is_some());
        assert_eq!(seen, expected, "{audience}");
    }
}

#[test]
fn one_is_a_contact_as_well_by_having_written_oneself() {
    let (mut fixture, device) = Fixture::signed_in();
    let summary = direct_summary(user(2));
    fixture.deliver(&summary, &[message(summary.conversation_id, 1, me())]);
    fixture
        .patch(
            &device,
            r#"{"profile_pic":"https://a.example","privacy":{"profile_pic":"contacts"}}"#,
        )
        .unwrap();
    assert!(fixture.view(user(2)).profile_pic_url.is_some());
}
