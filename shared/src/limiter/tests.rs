use std::rc::Rc;

use super::*;
use crate::protocol::problem::Code;
use crate::sql::OBJECT_SCOPE;
use crate::sql::probe::ProbeSql;

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const LOGIN: Take = Take {
    limit: Limit::Logins,
};
const REQUEST: Take = Take {
    limit: Limit::Requests,
};

fn service(sql: &Rc<ProbeSql>, scale: f64) -> LimiterService<Rc<ProbeSql>> {
    LimiterService::new(Rc::clone(sql), OBJECT_SCOPE, scale)
}

fn wait(service: &mut LimiterService<Rc<ProbeSql>>, call: Take, now: Timestamp) -> Option<u64> {
    match service.take(call, now) {
        Ok(_) => None,
        Err(error) => {
            let problem = error.into_problem();
            assert_eq!(problem.code, Code::RateLimited);
            problem.retry_after_ms
        }
    }
}

#[test]
fn a_bucket_gives_its_burst_and_then_as_much_as_comes_back() {
    let rate = Rate::per(20, SECOND).with_burst(60);
    let mut bucket = Bucket::default();
    for _ in 0..60 {
        assert_eq!(bucket.take(rate, START), Ok(()));
    }
    let empty = bucket;
    assert_eq!(bucket.take(rate, START), Err(Duration::from_millis(50)));
    assert_eq!(bucket, empty, "what is refused changes nothing");
    assert_eq!(bucket.full_at(), START + 3 * SECOND);
    let later = START + Duration::from_millis(100);
    assert_eq!(bucket.take(rate, later), Ok(()));
    assert_eq!(bucket.take(rate, later), Ok(()));
    assert!(bucket.take(rate, later).is_err());
    let much_later = START + 1000 * SECOND;
    let taken = (0..100)
        .filter(|_| bucket.take(rate, much_later).is_ok())
        .count();
    assert_eq!(taken, 60, "it holds no more than its burst");
}

#[test]
fn a_clock_that_was_set_back_keeps_no_one_out_for_longer_than_an_empty_bucket_does() {
    let rate = Rate::per(30, Duration::from_secs(3600));
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(rate, START + 1_000_000 * SECOND), Ok(()));
    assert_eq!(bucket.take(rate, START), Err(120 * SECOND));
    assert_eq!(bucket.take(rate, START + 120 * SECOND), Err(120 * SECOND));
}

#[test]
fn a_scale_multiplies_and_zero_means_no_limit() {
    let rate = Rate::per(30, Duration::from_secs(3600));
    assert_eq!(rate.scaled(0.0), None);
    assert_eq!(rate.scaled(1.0), Some(rate));
    for senseless in [-1.0, f64::NAN] {
        assert_eq!(rate.scaled(senseless), Some(rate));
    }
    assert_eq!(
        rate.scaled(2.0),
        Some(Rate::per(60, Duration::from_secs(3600)))
    );
    assert_eq!(rate.scaled(1e-9).unwrap().burst, 1);
    for extreme in [f64::MIN_POSITIVE, 1e300, f64::INFINITY] {
        let mut bucket = Bucket::default();
        let rate = rate.scaled(extreme).unwrap();
        assert_eq!(bucket.take(rate, START), Ok(()), "{extreme}");
    }
}

#[test]
fn thirty_logins_an_hour_outlive_the_object_s_memory() {
    let sql = Rc::new(ProbeSql::new());
    for _ in 0..30 {
        // Every login finds the object anew.
        assert_eq!(wait(&mut service(&sql, 1.0), LOGIN, START), None);
    }
    let (refused, cost) = sql.cost(|| wait(&mut service(&sql, 1.0), LOGIN, START));
    assert_eq!(refused, Some(120_000));
    assert_eq!(cost.written, 0, "a refusal writes nothing");
    let later = START + 120 * SECOND;
    assert_eq!(wait(&mut service(&sql, 1.0), LOGIN, later), None);
    assert_eq!(wait(&mut service(&sql, 1.0), LOGIN, later), Some(120_000));
}

#[test]
fn a_fast_bucket_is_written_once_for_many_tokens() {
    let sql = Rc::new(ProbeSql::new());
    let mut kept = service(&sql, 1.0);
    kept.take(REQUEST, START).unwrap();
    let (_, cost) = sql.cost(|| {
        for _ in 0..250 {
            kept.take(REQUEST, START).unwrap();
        }
    });
    assert_eq!(cost.written, 50, "five tokens come back in a second");
    // Little is forgotten with the memory.
    let mut woken = service(&sql, 1.0);
    let taken = (0..100)
        .take_while(|_| wait(&mut woken, REQUEST, START).is_none())
        .count();
    assert!((49..54).contains(&taken), "{taken}");
}

#[test]
fn without_a_limit_nothing_is_counted_or_stored() {
    let sql = Rc::new(ProbeSql::new());
    let mut unlimited = service(&sql, 0.0);
    let (_, cost) = sql.cost(|| {
        for _ in 0..1000 {
            assert_eq!(unlimited.take(LOGIN, START).unwrap(), Upkeep::None);
        }
    });
    assert_eq!(cost.statements, 0);
}

#[test]
fn one_alarm_is_set_and_a_full_bucket_is_forgotten() {
    let sql = Rc::new(ProbeSql::new());
    let mut kept = service(&sql, 1.0);
    let first = START + 120 * SECOND;
    assert_eq!(kept.take(LOGIN, START).unwrap(), Upkeep::Wake(first));
    assert_eq!(kept.take(LOGIN, START).unwrap(), Upkeep::None);
    let full = START + 240 * SECOND;
    let mut woken = service(&sql, 1.0);
    assert_eq!(woken.on_alarm(first).unwrap(), Upkeep::Wake(full));
    assert_eq!(woken.take(LOGIN, first).unwrap(), Upkeep::None);
    assert_eq!(
        woken.on_alarm(full).unwrap(),
        Upkeep::Wake(full + 120 * SECOND)
    );
    let mut woken = service(&sql, 1.0);
    let on_alarm = woken.on_alarm(full + 120 * SECOND).unwrap();
    assert_eq!(on_alarm, Upkeep::Forget);
}

#[test]
fn a_token_that_could_not_be_written_was_not_taken() {
    let sql = Rc::new(ProbeSql::new());
    let mut kept = service(&sql, 1.0);
    kept.take(LOGIN, START).unwrap();
    let before = sql.dump("SELECT * FROM bucket");
    sql.fail_after(0);
    assert!(matches!(
        kept.take(LOGIN, START),
        Err(ServiceError::Storage(_))
    ));
    assert_eq!(sql.dump("SELECT * FROM bucket"), before);
    for _ in 0..29 {
        assert_eq!(wait(&mut kept, LOGIN, START), None);
    }
    assert!(wait(&mut kept, LOGIN, START).is_some());
}

#[test]
fn a_name_tells_no_address_and_an_ipv6_network_is_one() {
    let name = |address: &str, key: &[u8]| {
        LimiterName::address(Limit::Logins, address.parse().unwrap(), key)
    };
    let one = name("192.0.2.7", b"key");
    assert!(one.as_str().starts_with("logins:address:"));
    assert!(!one.as_str().contains("192.0.2.7"));
    assert_eq!(one, name("::ffff:192.0.2.7", b"key"));
    assert_ne!(one, name("192.0.2.8", b"key"));
    assert_ne!(one, name("192.0.2.7", b"another"));
    assert_eq!(
        name("2001:db8::1", b"key"),
        name("2001:db8::ffff:2", b"key")
    );
    assert_ne!(name("2001:db8::1", b"key"), name("2001:db8:0:1::1", b"key"));
    let device: DeviceId = "00000000-0000-4000-8000-0000000000d1".parse().unwrap();
    assert_eq!(
        LimiterName::device(Limit::Requests, device).as_str(),
        "requests:device:00000000-0000-4000-8000-0000000000d1"
    );
}

#[test]
fn the_wire_form_is_pinned() {
    let request = LimiterRequest::from(LOGIN);
    assert_eq!(
        serde_json::to_string(&request).unwrap(),
        r#"{"take":{"limit":"logins"}}"#
    );
}
