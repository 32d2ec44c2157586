//! Signing in and out, refresh tokens, devices.

use super::*;
use crate::limits;
use crate::protocol::problem::Code;
use crate::protocol::user::DeviceView;
use crate::user::refresh::RefreshToken;

impl Fixture {
    fn refresh(&mut self, token: &str) -> Result<SignedIn, Problem> {
        let call = Refresh {
            token: token.parse()?,
        };
        self.service
            .refresh(&call, self.clock.now(), &mut Vec::new())
            .map_err(ServiceError::into_problem)
    }

    fn is_signed_in(&mut self, device_id: DeviceId) -> bool {
        match self.service.check_device(CheckDevice { device_id }) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(
                    error.into_problem(),
                    Problem::unauthenticated("This device is signed out.")
                );
                false
            }
        }
    }

    fn devices(&mut self, device_id: DeviceId) -> Vec<DeviceView> {
        self.service
            .list_devices(ListDevices { device_id })
            .unwrap()
            .devices
    }
}

#[test]
fn the_first_login_makes_the_user_and_later_ones_do_not() {
    let mut fixture = Fixture::new();
    let first = fixture.sign_in(Some("Phone")).unwrap();
    assert!(first.is_new_user);
    assert_eq!(first.user_id, me());
    fixture.restart();
    let second = fixture.sign_in(None).unwrap();
    assert!(!second.is_new_user);
    assert_ne!(first.device_id, second.device_id);
    assert!(fixture.is_signed_in(first.device_id) && fixture.is_signed_in(second.device_id));
}

#[test]
fn a_later_login_leaves_the_profile_as_it_is() {
    let (mut fixture, device) = Fixture::signed_in();
    let device_id = device.device_id;
    let patch = serde_json::from_str(r#"{"display_name":"Ada"}"#).unwrap();
    let before = fixture
        .service
        .update_profile(UpdateProfile { device_id, patch }, START, &mut Vec::new())
        .unwrap();
    fixture.clock.advance(MINUTE);
    fixture.sign_in(None).unwrap();
    assert_eq!(
        fixture
            .service
            .get_profile(GetProfile { device_id })
            .unwrap(),
        before
    );
}

#[test]
fn a_device_name_is_checked_before_anything_happens() {
    let mut fixture = Fixture::new();
    let long = "x".repeat(limits::NAME_CHARS + 1);
    for bad in ["", "  ", "a\u{7}b", &long] {
        let problem = fixture.sign_in(Some(bad)).unwrap_err();
        assert_eq!(problem.errors[0].field, "device_name", "{bad:?}");
    }
    assert!(
        fixture
            .sql
            .dump("SELECT name FROM sqlite_master")
            .rows
            .is_empty()
    );
    assert!(
        fixture
            .sign_in(Some(&"\u{e9}".repeat(limits::NAME_CHARS)))
            .is_ok()
    );
}

#[test]
fn devices_are_listed_last_seen_first_and_the_asking_one_is_marked() {
    let (mut fixture, first) = Fixture::signed_in();
    fixture.clock.advance(MINUTE);
    let second = fixture.sign_in(Some("Laptop")).unwrap();
    let view = |device: &SignedIn, name: &str, minutes: u32, current| DeviceView {
        device_id: device.device_id,
        device_name: name.to_owned(),
        last_seen: START + MINUTE * minutes,
        current,
    };
    assert_eq!(
        fixture.devices(first.device_id),
        [
            view(&second, "Laptop", 1, false),
            view(&first, "Unnamed device", 0, true)
        ]
    );
    fixture.clock.advance(MINUTE);
    fixture.refresh(&first.refresh_token).unwrap();
    assert_eq!(
        fixture.devices(second.device_id),
        [
            view(&first, "Unnamed device", 2, false),
            view(&second, "Laptop", 1, true)
        ]
    );
}

#[test]
fn one_device_too_many_signs_the_longest_unused_out() {
    let mut fixture = Fixture::new();
    let mut devices = Vec::new();
    for _ in 0..limits::DEVICES {
        devices.push(fixture.sign_in(None).unwrap());
        fixture.clock.advance(MINUTE);
    }
    fixture.refresh(&devices[0].refresh_token).unwrap();
    fixture.clock.advance(MINUTE);
    let newest = fixture.sign_in(None).unwrap();
    assert!(!fixture.is_signed_in(devices[1].device_id));
    assert!(fixture.is_signed_in(devices[0].device_id));
    assert_eq!(fixture.devices(newest.device_id).len(), limits::DEVICES);
}

#[test]
fn the_newest_device_stays_even_when_the_clock_went_back() {
    let mut fixture = Fixture::new();
    for _ in 0..limits::DEVICES {
        fixture.sign_in(None).unwrap();
    }
    fixture.clock = ManualClock::new(Timestamp::from_millis(0));
    let newest = fixture.sign_in(None).unwrap();
    assert!(fixture.is_signed_in(newest.device_id));
}

#[test]
fn each_refresh_gives_the_next_token() {
    let (mut fixture, first) = Fixture::signed_in();
    let mut token = first.refresh_token.clone();
    for generation in 2..6 {
        fixture.restart();
        let next = fixture.refresh(&token).unwrap();
        assert_eq!((next.device_id, next.is_new_user), (first.device_id, false));
        token = next.refresh_token;
        assert_eq!(
            token.parse::<RefreshToken>().unwrap().generation,
            generation
        );
    }
}

#[test]
fn a_used_token_presented_again_signs_its_device_out_for_good() {
    for age in 1..4 {
        let (mut fixture, first) = Fixture::signed_in();
        let other = fixture.sign_in(None).unwrap();
        let mut token = first.refresh_token.clone();
        for _ in 0..age {
            token = fixture.refresh(&token).unwrap().refresh_token;
        }
        assert_eq!(
            fixture.refresh(&first.refresh_token).unwrap_err().code,
            Code::Unauthenticated
        );
        fixture.restart();
        assert!(!fixture.is_signed_in(first.device_id));
        assert_eq!(
            fixture.refresh(&token).unwrap_err().code,
            Code::Unauthenticated
        );
        assert!(
            fixture.is_signed_in(other.device_id),
            "other devices are left alone"
        );
    }
}

#[test]
fn an_invented_token_changes_nothing() {
    let (mut fixture, device) = Fixture::signed_in();
    let other = fixture.sign_in(None).unwrap();
    let newest = fixture.refresh(&device.refresh_token).unwrap();
    let before = fixture.sql.dump("SELECT * FROM device");
    for generation in [0, 1, 2, 3, u64::MAX] {
        let forged = RefreshToken::new(me(), device.device_id, generation, &[0; 32]);
        assert_eq!(
            fixture.refresh(&forged.to_string()).unwrap_err().status,
            401
        );
    }
    for (user, device) in [
        (user(9), device.device_id),
        (me(), DeviceId::random(&fixture.entropy)),
    ] {
        let mut moved: RefreshToken = newest.refresh_token.parse().unwrap();
        (moved.user_id, moved.device_id) = (user, device);
        assert_eq!(fixture.refresh(&moved.to_string()).unwrap_err().status, 401);
    }
    let mut swapped: RefreshToken = other.refresh_token.parse().unwrap();
    swapped.device_id = device.device_id;
    assert_eq!(
        fixture.refresh(&swapped.to_string()).unwrap_err().status,
        401
    );
    assert_eq!(fixture.sql.dump("SELECT * FROM device"), before);
    assert!(fixture.refresh(&newest.refresh_token).is_ok());
}

#[test]
fn a_signed_out_device_can_do_nothing_more() {
    let (mut fixture, device) = Fixture::signed_in();
    let device_id = device.device_id;
    fixture
        .service
        .sign_out(SignOut { device_id }, START, &mut Vec::new())
        .unwrap();
    fixture
        .service
        .sign_out(SignOut { device_id }, START, &mut Vec::new())
        .unwrap();
    assert!(!fixture.is_signed_in(device_id));
    let service = &mut fixture.service;
    let list = ListConversations {
        device_id,
        cursor: None,
        limit: 1,
        archived: false,
    };
    let patch = serde_json::from_str(r#"{"display_name":""}"#).unwrap();
    let refused = [
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
        fixture.refresh(&device.refresh_token).unwrap_err(),
    ];
    assert!(
        refused
            .iter()
            .all(|problem| problem.code == Code::Unauthenticated),
        "{refused:?}"
    );
}

#[test]
fn a_device_can_sign_another_one_out_and_itself() {
    let (mut fixture, first) = Fixture::signed_in();
    let second = fixture.sign_in(None).unwrap();
    let mut revoke = |device_id, revoked| {
        let done = fixture.service.revoke_device(
            RevokeDevice { device_id, revoked },
            START,
            &mut Vec::new(),
        );
        done.map_err(|error| error.into_problem().code)
    };
    let (first, second) = (first.device_id, second.device_id);
    assert_eq!(revoke(first, second), Ok(()));
    assert_eq!(revoke(first, second), Err(Code::NotFound));
    assert_eq!(revoke(second, first), Err(Code::Unauthenticated));
    assert_eq!(revoke(first, first), Ok(()));
    assert!(!fixture.is_signed_in(first));
}
