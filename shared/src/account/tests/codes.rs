//! Codes: right, wrong, used, expired, replaced.

use super::*;
use crate::limits;

#[test]
fn the_right_code_gives_the_number_a_user_for_ever() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    let user = account.verify(&code).unwrap();
    assert_eq!(account.service.find_user(FindUser {}).unwrap(), Some(user));
    account.clock.advance(HOUR * 24 * 365);
    let code = account.request().unwrap();
    assert_eq!(account.verify(&code).unwrap(), user);
}

#[test]
fn a_code_is_six_digits_with_leading_zeros() {
    let mut account = Fixture::with_scale(0.0);
    let codes: Vec<_> = (0..200).map(|_| account.request().unwrap()).collect();
    assert!(
        codes
            .iter()
            .all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
    );
    assert!(codes.iter().any(|code| code.starts_with('0')));
}

#[test]
fn a_code_lives_ten_minutes() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    account
        .clock
        .advance(limits::CODE_LIFETIME - Duration::from_millis(1));
    assert!(account.verify(&code).is_ok());
    let code = account.request().unwrap();
    account.clock.advance(limits::CODE_LIFETIME);
    assert_eq!(
        account.verify(&code).unwrap_err().code,
        Code::Unauthenticated
    );
}

#[test]
fn a_code_works_once() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    account.verify(&code).unwrap();
    assert_eq!(
        account.verify(&code).unwrap_err().code,
        Code::Unauthenticated
    );
}

#[test]
fn a_new_code_replaces_the_old_one() {
    let mut account = Fixture::new();
    let old = account.request().unwrap();
    let new = account.request().unwrap();
    assert_eq!(
        account.verify(&old).unwrap_err().code,
        Code::Unauthenticated
    );
    assert!(account.verify(&new).is_ok());
}

#[test]
fn a_code_is_dead_after_five_wrong_tries_even_without_rate_limits() {
    for scale in [1.0, 0.0] {
        let mut account = Fixture::with_scale(scale);
        let code = account.request().unwrap();
        account.guess(&code, 5);
        assert_eq!(
            account.verify(&code).unwrap_err().code,
            Code::Unauthenticated
        );
        let code = account.request().unwrap();
        account.guess(&code, 4);
        assert!(account.verify(&code).is_ok());
    }
}

#[test]
fn wrong_tries_survive_a_restart() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    account.guess(&code, 5);
    account.service =
        AccountService::new(account.sql.clone(), OBJECT_SCOPE, AccountLimits::default());
    assert_eq!(
        account.verify(&code).unwrap_err().code,
        Code::Unauthenticated
    );
}

#[test]
fn all_refusals_of_a_code_read_alike() {
    let mut account = Fixture::new();
    let none = account.verify("123456").unwrap_err();
    let code = account.request().unwrap();
    let mistaken = account.verify(&wrong(&code)).unwrap_err();
    account.verify(&code).unwrap();
    let used = account.verify(&code).unwrap_err();
    assert_eq!(none, mistaken);
    assert_eq!(none, used);
}

#[test]
fn what_is_not_six_digits_is_invalid_and_not_counted() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    let before = account.sql.dump(DUMP);
    for bad in [
        "",
        "12345",
        "1234567",
        "12345a",
        " 12345",
        "\u{661}23456",
        "+12345",
        "-12345",
    ] {
        let problem = account.verify(bad).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest, "{bad:?}");
        assert_eq!(problem.errors[0].field, "verification_code");
    }
    assert_eq!(account.sql.dump(DUMP), before);
    assert!(account.verify(&code).is_ok());
}

#[test]
fn a_refused_request_leaves_the_newest_code_alone() {
    let mut account = Fixture::new();
    let newest = (0..5).map(|_| account.request().unwrap()).last().unwrap();
    account.request().unwrap_err();
    assert!(account.verify(&newest).is_ok());
}
