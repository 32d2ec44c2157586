//! How many codes a number gets, and how many guesses; codes that are taken back.

use super::*;
use crate::limits;

#[test]
fn a_number_gets_five_codes_in_any_hour() {
    let mut account = Fixture::new();
    for _ in 0..5 {
        account.request().unwrap();
        account.clock.advance(MINUTE * 10);
    }
    assert_eq!(retry_after(&account.request().unwrap_err()), MINUTE * 10);
    account
        .clock
        .advance(MINUTE * 10 - Duration::from_millis(1));
    assert_eq!(
        retry_after(&account.request().unwrap_err()),
        Duration::from_millis(1)
    );
    account.clock.advance(Duration::from_millis(1));
    account.request().unwrap();
    assert_eq!(retry_after(&account.request().unwrap_err()), MINUTE * 10);
}

#[test]
fn a_success_does_not_give_the_hours_codes_back() {
    let mut account = Fixture::new();
    for _ in 0..5 {
        let code = account.request().unwrap();
        account.verify(&code).unwrap();
    }
    assert_eq!(account.request().unwrap_err().code, Code::RateLimited);
}

#[test]
fn fifteen_wrong_tries_in_a_row_lock_the_number_for_an_hour() {
    let mut account = Fixture::new();
    for _ in 0..3 {
        let code = account.request().unwrap();
        account.guess(&code, 5);
    }
    account.clock.advance(MINUTE);
    assert_eq!(retry_after(&account.request().unwrap_err()), MINUTE * 59);
    assert_eq!(
        retry_after(&account.verify("123456").unwrap_err()),
        MINUTE * 59
    );
    account.clock.advance(MINUTE * 59);
    let code = account.request().unwrap();
    account.guess(&code, 4);
    assert!(
        account.verify(&code).is_ok(),
        "the count begins anew after the lock"
    );
}

#[test]
fn a_lock_refuses_the_right_code_too() {
    let mut account = Fixture::new();
    for _ in 0..2 {
        let code = account.request().unwrap();
        account.guess(&code, 5);
    }
    let code = account.request().unwrap();
    account.guess(&code, 4);
    let last = account.request().unwrap();
    account.guess(&last, 1);
    assert_eq!(account.verify(&last).unwrap_err().code, Code::RateLimited);
}

#[test]
fn a_success_ends_the_row_of_wrong_tries() {
    let mut account = Fixture::new();
    for _ in 0..4 {
        let code = account.request().unwrap();
        account.guess(&code, 4);
        account.verify(&code).unwrap();
    }
    assert!(account.request().is_ok());
}

#[test]
fn tries_while_no_code_lives_do_not_lock_the_number() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    account.clock.advance(limits::CODE_LIFETIME);
    account.guess(&code, 40);
    assert!(account.request().is_ok());
}

#[test]
fn without_rate_limits_there_is_neither_an_hourly_limit_nor_a_lock() {
    let mut account = Fixture::with_scale(0.0);
    for _ in 0..20 {
        let code = account.request().unwrap();
        account.guess(&code, 5);
    }
    let code = account.request().unwrap();
    assert!(account.verify(&code).is_ok());
}

#[test]
fn limits_scale_but_never_vanish_by_mistake() {
    let codes = |scale| AccountLimits::scaled(scale).codes_per_hour;
    assert_eq!(codes(1.0), Some(5));
    assert_eq!(codes(10.0), Some(50));
    assert_eq!(codes(0.5), Some(2));
    assert_eq!(codes(0.001), Some(1));
    assert_eq!(codes(f64::INFINITY), Some(u32::MAX));
    assert_eq!(codes(-1.0), Some(5));
    assert_eq!(codes(f64::NAN), Some(5));
    assert_eq!(codes(0.0), None);
}

#[test]
fn a_withdrawn_code_dies_and_does_not_count() {
    let mut account = Fixture::new();
    for _ in 0..20 {
        let code = account.request().unwrap();
        account.withdraw(&code);
        assert_eq!(
            account.verify(&code).unwrap_err().code,
            Code::Unauthenticated
        );
    }
    for _ in 0..5 {
        account.request().unwrap();
    }
    account.request().unwrap_err();
}

#[test]
fn withdrawing_changes_nothing_where_another_code_was_made_since_or_it_was_used() {
    let mut account = Fixture::new();
    let old = account.request().unwrap();
    let new = account.request().unwrap();
    account.withdraw(&old);
    account.withdraw("not a code");
    let user = account.verify(&new).unwrap();
    account.withdraw(&new);
    for _ in 0..3 {
        account.request().unwrap();
    }
    account.request().unwrap_err();
    assert_eq!(account.service.find_user(FindUser {}).unwrap(), Some(user));
}
