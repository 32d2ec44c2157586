//! What is stored: failures in the midst of a request, old databases, pinned JSON, and the
//! answers as they travel.

use super::*;
use crate::protocol::frame::CloseCode;
use crate::protocol::problem::Code;
use crate::protocol::user::DeviceList;
use crate::sql::native::NativeSql;
use crate::sql::{Param, Sql};

/// Every row of the user's tables, as one list.
const DUMP: &str = "SELECT 'profile', p.user_id, p.display_name, p.status_message, p.privacy, 0 FROM profile p
    UNION ALL SELECT 'device', device_id, name, refresh_key, generation, last_seen FROM device
    UNION ALL SELECT 'conversation', conversation_id, head_seq, unread, last_message, name FROM inbox";

#[test]
fn a_failure_of_storage_changes_nothing_and_is_told() {
    let (mut fixture, device) = Fixture::signed_in();
    let sql = fixture.sql.clone();
    let device_id = device.device_id;

    let summary = group_summary(1, "Hikers");
    let id = summary.conversation_id;
    for events in [messages(id, 1..=2), messages(id, 3..=4)] {
        let call = Deliver {
            visible_from: Seq::new(1),
            user_id: me(),
            conversation: summary.clone(),
            events,
            attached_devices: vec![],
        };
        sql.fail_everywhere(DUMP, || {
            fixture.service.deliver(&call, START, &mut Vec::new())
        });
    }
    let patch = serde_json::from_str(r#"{"display_name":"Ada"}"#).unwrap();
    let call = UpdateProfile { device_id, patch };
    sql.fail_everywhere(DUMP, || {
        fixture
            .service
            .update_profile(call.clone(), START, &mut Vec::new())
    });

    let other = sql.fail_everywhere(DUMP, || fixture.sign_in(None));
    let call = RevokeDevice {
        device_id,
        revoked: other.device_id,
    };
    sql.fail_everywhere(DUMP, || {
        fixture.service.revoke_device(call, START, &mut Vec::new())
    });

    let call = Refresh {
        token: device.refresh_token.parse().unwrap(),
    };
    let now = fixture.clock.now();
    let next = sql.fail_everywhere(DUMP, || {
        fixture.service.refresh(&call, now, &mut Vec::new())
    });
    sql.fail_everywhere(DUMP, || {
        match fixture.service.refresh(&call, now, &mut Vec::new()) {
            Err(ServiceError::Refused(problem)) if problem.code == Code::Unauthenticated => Ok(()),
            other => Err(other),
        }
    });
    let call = Refresh {
        token: next.refresh_token.parse().unwrap(),
    };
    assert_eq!(
        problem(fixture.service.refresh(&call, now, &mut Vec::new())).code,
        Code::Unauthenticated
    );
    fixture
        .service
        .sign_out(SignOut { device_id }, START, &mut Vec::new())
        .unwrap();
}

#[test]
fn the_very_first_login_is_all_or_nothing_too() {
    let mut fixture = Fixture::new();
    let sql = fixture.sql.clone();
    for statements in 0.. {
        sql.fail_after(statements);
        let done = fixture.sign_in(None);
        if sql.call_off() {
            assert!(done.unwrap().is_new_user);
            break;
        }
        assert_eq!(done.unwrap_err().code, Code::Internal);
        fixture.restart();
    }
    assert_eq!(sql.dump("SELECT * FROM profile").rows.len(), 1);
    assert_eq!(sql.dump("SELECT * FROM device").rows.len(), 1);
}

#[test]
fn asking_a_user_that_does_not_exist_leaves_no_trace() {
    let mut fixture = Fixture::new();
    let device_id = DeviceId::random(&fixture.entropy);
    let token = crate::user::refresh::RefreshToken::new(me(), device_id, 1, &[0; 32]);
    let service = &mut fixture.service;
    let list = ListConversations {
        device_id,
        cursor: None,
        limit: 1,
        archived: false,
    };
    let patch = serde_json::from_str("{}").unwrap();
    let refused = [
        problem(service.check_device(CheckDevice { device_id })),
        problem(service.list_devices(ListDevices { device_id })),
        problem(service.revoke_device(
            RevokeDevice {
                device_id,
                revoked: device_id,
            },
            START,
            &mut Vec::new(),
        )),
        problem(service.get_profile(GetProfile { device_id })),
        problem(service.update_profile(UpdateProfile { device_id, patch }, START, &mut Vec::new())),
        problem(service.list_conversations(&list, START)),
        problem(service.refresh(&Refresh { token }, START, &mut Vec::new())),
    ];
    assert!(
        refused
            .iter()
            .all(|problem| problem.code == Code::Unauthenticated)
    );
    assert_eq!(
        problem(service.view_profile(ViewProfile { viewer: me() }, START)).code,
        Code::NotFound
    );
    service
        .sign_out(SignOut { device_id }, START, &mut Vec::new())
        .unwrap();
    assert!(
        fixture
            .sql
            .dump("SELECT name FROM sqlite_master")
            .rows
            .is_empty()
    );
}

#[test]
fn a_scope_belongs_to_one_user() {
    let (mut fixture, _) = Fixture::signed_in();
    let call = SignIn {
        user_id: user(2),
        phone_number: "+14155550101".parse().unwrap(),
        device_name: None,
    };
    let before = fixture.sql.dump(DUMP);
    assert_eq!(
        problem(fixture.service.sign_in(call, START, &fixture.entropy)).code,
        Code::Internal
    );
    assert_eq!(fixture.sql.dump(DUMP), before);
}

#[test]
fn users_of_one_database_do_not_see_each_other() {
    let (mut fixture, mine) = Fixture::signed_in();
    let mut other = UserService::new(fixture.sql.clone(), OBJECT_SCOPE + 1);
    let call = SignIn {
        user_id: user(2),
        phone_number: "+14155550101".parse().unwrap(),
        device_name: None,
    };
    let theirs = other.sign_in(call, START, &fixture.entropy).unwrap();
    assert!(theirs.is_new_user);
    let device_id = theirs.device_id;
    assert_eq!(
        problem(fixture.service.check_device(CheckDevice { device_id })).status,
        401
    );
    let summary = direct_summary(user(2));
    fixture.deliver(&summary, &messages(summary.conversation_id, 1..=1));
    let call = ListConversations {
        device_id,
        cursor: None,
        limit: 10,
        archived: false,
    };
    let page = other.list_conversations(&call, START).unwrap();
    assert_eq!((page.conversations.len(), page.total_unread), (0, 0));
    assert_eq!(fixture.list(mine.device_id).len(), 1);
    let call = ListDevices { device_id };
    assert_eq!(other.list_devices(call).unwrap().devices.len(), 1);
}

#[test]
fn the_stored_json_is_pinned() {
    let (mut fixture, _) = Fixture::signed_in();
    let summary = direct_summary(user(2));
    fixture.deliver(&summary, &messages(summary.conversation_id, 1..=1));
    let stored = |statement| {
        fixture
            .sql
            .dump(statement)
            .scalar::<String>()
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        stored("SELECT privacy FROM profile"),
        r#"{"last_seen":"everyone","profile_pic":"everyone","read_receipts":true}"#
    );
    assert_eq!(
        stored("SELECT last_message FROM inbox"),
        r#"{"message_id":"01a0c450-6fe8-7cc1-8890-250000000001","seq":1,"sender_id":"00000000-0000-4000-8000-000000000002","content_type":"text","preview":"message 1","created_at":"2026-09-21T14:13:21.000Z"}"#
    );
}

#[test]
fn answers_are_the_json_of_the_replies() {
    let mut fixture = Fixture::new();
    let entropy = SeededEntropy::new(4);
    let call = SignIn {
        user_id: me(),
        phone_number: "+14155550100".parse().unwrap(),
        device_name: Some("Phone".to_owned()),
    };
    let mut handle = |request| match fixture.service.handle(request, START, &entropy) {
        (Reply::Now(reply), _) => reply,
        (other, _) => panic!("{other:?}"),
    };
    let signed_in: SignedIn = serde_json::from_str(&handle(call.into())).unwrap();
    let device_id = signed_in.device_id;
    assert_eq!(handle(CheckDevice { device_id }.into()), "null");
    let devices: DeviceList =
        serde_json::from_str(&handle(ListDevices { device_id }.into())).unwrap();
    assert_eq!(devices.devices[0].device_name, "Phone");
    let call = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: direct_summary(user(2)),
        events: vec![],
        attached_devices: vec![],
    };
    assert_eq!(
        handle(call.into()),
        r#"{"head_seq":0,"position":{"delivered_seq":0,"read_seq":0,"read_receipts":true}}"#
    );
    let token = signed_in.refresh_token.parse().unwrap();
    let renewed: SignedIn = serde_json::from_str(&handle(Refresh { token }.into())).unwrap();
    assert_eq!(renewed.device_id, device_id);
    assert_eq!(handle(SignOut { device_id }.into()), "null");
}

/// A database as version 1 of the schema left it, literally.
#[test]
fn a_database_of_version_1_opens() {
    let sql = NativeSql::in_memory().unwrap();
    for statement in [
        "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO schema_version VALUES ('user', 1)",
        "CREATE TABLE profile (scope INTEGER PRIMARY KEY, user_id BLOB NOT NULL, phone_number TEXT NOT NULL,
            display_name TEXT NOT NULL, status_message TEXT NOT NULL, profile_pic_url TEXT,
            privacy TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE device (scope INTEGER NOT NULL, device_id BLOB NOT NULL, name TEXT NOT NULL,
            refresh_key BLOB NOT NULL, generation INTEGER NOT NULL, created_at INTEGER NOT NULL,
            last_seen INTEGER NOT NULL, PRIMARY KEY (scope, device_id)) WITHOUT ROWID",
        "CREATE TABLE conversation (scope INTEGER NOT NULL, conversation_id BLOB NOT NULL,
            pinned INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0,
            active_at INTEGER NOT NULL, unread INTEGER NOT NULL DEFAULT 0, head_seq INTEGER NOT NULL,
            read_seq INTEGER NOT NULL DEFAULT 0, muted_until INTEGER, created_at INTEGER NOT NULL,
            kind TEXT NOT NULL, peer_id BLOB, name TEXT, avatar_url TEXT, last_message TEXT,
            PRIMARY KEY (scope, conversation_id)) WITHOUT ROWID",
        "INSERT INTO profile VALUES (1, x'00000000000040008000000000000001', '+14155550100', 'Ada', '', NULL,
            '{\"last_seen\":\"nobody\",\"profile_pic\":\"contacts\",\"read_receipts\":false}', 5000)",
        "INSERT INTO device VALUES (1, x'00000000000040008000000000000009', 'Phone',
            x'0707070707070707070707070707070707070707070707070707070707070707', 3, 5000, 6000)",
        "INSERT INTO conversation VALUES (1, x'00000000000040009000000000000001', 1, 0, 7000, 2, 4, 2, 9000,
            5000, 'group', NULL, 'Hikers', NULL,
            '{\"message_id\":\"00000000-1b58-7000-8000-000000000004\",\"seq\":4,\"sender_id\":\"00000000-0000-4000-8000-000000000002\",\"content_type\":\"text\",\"preview\":\"hi\",\"created_at\":\"1970-01-01T00:00:07.000Z\"}')",
    ] {
        sql.exec(statement, &[] as &[Param<'_>]).unwrap();
    }
    let mut service = UserService::new(sql, OBJECT_SCOPE);
    let device_id: DeviceId = "00000000-0000-4000-8000-000000000009".parse().unwrap();
    let profile = service.get_profile(GetProfile { device_id }).unwrap();
    assert_eq!(
        (profile.display_name.as_str(), profile.privacy.read_receipts),
        ("Ada", false)
    );
    let token = crate::user::refresh::RefreshToken::new(me(), device_id, 3, &[7; 32]);
    service
        .refresh(&Refresh { token }, START, &mut Vec::new())
        .unwrap();
    let call = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: group_summary(1, "Hikers"),
        events: messages(group(1), 5..=5),
        attached_devices: vec![],
    };
    assert_eq!(
        service
            .deliver(&call, START, &mut Vec::new())
            .unwrap()
            .head_seq,
        Seq::new(5)
    );
    let call = ListConversations {
        device_id,
        cursor: None,
        limit: 10,
        archived: false,
    };
    let item = service
        .list_conversations(&call, START)
        .unwrap()
        .conversations
        .remove(0);
    assert_eq!(
        (item.unread, item.read_seq, item.pinned),
        (3, Seq::new(2), true)
    );
    assert_eq!(item.muted_until, Some(Timestamp::from_millis(9000)));
}

#[test]
fn a_session_that_ends_while_storage_fails_is_closed_all_the_same() {
    let (mut fixture, device) = Fixture::signed_in();
    let id = group_summary(1, "Hikers").conversation_id;
    fixture.deliver(&group_summary(1, "Hikers"), &messages(id, 1..=1));
    let open = OpenSession {
        user_id: me(),
        device_id: device.device_id,
        expires_at: START + MINUTE,
        subprotocol: false,
        transport: Transport::Socket,
    };
    let opened = fixture.service.open_session(&open, START).unwrap();
    let late = START + MINUTE;
    let sql = fixture.sql.clone();
    let deliver = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: group_summary(1, "Hikers"),
        events: messages(id, 2..=2),
        attached_devices: Vec::new(),
    };
    // One after the other, until the delivery itself succeeds.
    let effects = (0..)
        .find_map(|statements| {
            sql.fail_after(statements);
            let service = &mut fixture.service;
            let (taken, effects) = collected(|effects| service.deliver(&deliver, late, effects));
            taken.is_ok().then_some(effects)
        })
        .unwrap();
    sql.call_off();
    let closes = |effect: &Effect| matches!(effect, Effect::Close { socket, code: CloseCode::TokenExpired } if *socket == opened.socket);
    assert!(effects.iter().any(closes), "{effects:?}");
    assert!(
        matches!(effects.last(), Some(Effect::Failed(_))),
        "{effects:?}"
    );
    // Were a socket to be left over, it does not stay.
    let text = r#"{"type":"ping"}"#;
    let effects = fixture.service.on_text(opened.socket, text, late);
    assert!(matches!(
        effects[0],
        Effect::Close {
            code: CloseCode::Restart,
            ..
        }
    ));
}
