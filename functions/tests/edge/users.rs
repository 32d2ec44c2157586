//! `/users/*`

use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, PEER, config, public_profile};

fn profile() -> Value {
    json!({"user_id": ME, "phone_number": "+14155550177", "display_name": "Ada", "status_message": "",
        "profile_pic_url": null,
        "privacy": {"last_seen": "everyone", "profile_pic": "everyone", "read_receipts": true},
        "created_at": "2025-11-24T16:00:00.000Z"})
}

#[tokio::test(flavor = "current_thread")]
async fn one_s_own_profile_is_asked_of_one_s_own_object() {
    let fake = Fake::new(|_| Ok(profile()));
    assert_eq!(
        fake.ask("GET", "/api/v1/users/me", None).await.json(),
        profile()
    );
    let patch = json!({"display_name": "Ada", "profile_pic": null});
    let answer = fake
        .ask("PATCH", "/api/v1/users/me", Some(patch.clone()))
        .await;
    assert_eq!(answer.status, 200);
    let made = fake.made.borrow();
    assert!(made.iter().all(|made| made.name == ME));
    assert_eq!(
        made[0].request,
        json!({"get_profile": {"device_id": DEVICE}})
    );
    assert_eq!(
        made[1].request,
        json!({"update_profile": {"device_id": DEVICE, "patch": patch}})
    );
    let log = fake.log();
    assert!(
        log.contains(ME) && !log.contains("Ada") && !log.contains("4155550177"),
        "{log}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_revoked_device_is_told_that_its_token_no_longer_holds() {
    let fake = Fake::new(|_| Err(Problem::unauthenticated("The device is signed out.")));
    let answer = fake.ask("GET", "/api/v1/users/me", None).await;
    answer.problem(401, "unauthenticated");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
}

#[tokio::test(flavor = "current_thread")]
async fn another_s_profile_is_asked_of_the_other_s_object() {
    let fake = Fake::new(|_| Ok(public_profile(PEER, "Bob")));
    let encoded = PEER.replace('-', "%2D");
    for path in [PEER, &encoded] {
        let answer = fake
            .ask("GET", &format!("/api/v1/users/{path}"), None)
            .await;
        assert_eq!(answer.json()["display_name"], "Bob");
    }
    let made = fake.made.borrow();
    assert!(made.iter().all(|made| made.name == PEER));
    assert_eq!(made[0].request, json!({"view_profile": {"viewer": ME}}));
}

#[tokio::test(flavor = "current_thread")]
async fn a_look_up_gives_each_number_once_in_the_order_asked() {
    let known = |number: &str| {
        let key = config(&[]).unwrap().phone_hash_key;
        serde_json::to_value(key.account(&number.parse().unwrap())).unwrap()
    };
    let (one, two) = (known("+14155550101"), known("+14155550102"));
    let fake = Fake::new(move |made| {
        let name = json!(made.name);
        Ok(if name == one {
            json!(ME)
        } else if name == two {
            json!(PEER)
        } else {
            Value::Null
        })
    });
    let numbers =
        json!({"phone_numbers": ["+14155550102", "+14155550109", "+14155550101", "+14155550102"]});
    let answer = fake
        .ask("POST", "/api/v1/users/lookup", Some(numbers))
        .await;
    assert_eq!(
        answer.json(),
        json!({"users": [
            {"phone_number": "+14155550102", "user_id": PEER},
            {"phone_number": "+14155550101", "user_id": ME},
        ]})
    );
    assert_eq!(fake.calls().len(), 3);
    assert!(!fake.log().contains("415555"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_look_up_is_bounded_and_names_the_number_that_does_not_fit() {
    let fake = Fake::new(|_| Ok(Value::Null));
    let numbers =
        |count: u32| -> Vec<String> { (0..count).map(|n| format!("+1415555{n:04}")).collect() };
    let full = json!({"phone_numbers": numbers(100)});
    assert_eq!(
        fake.ask("POST", "/api/v1/users/lookup", Some(full))
            .await
            .status,
        200
    );
    assert_eq!(fake.most_in_flight.get(), 64);
    let over = json!({"phone_numbers": numbers(101)});
    let answer = fake.ask("POST", "/api/v1/users/lookup", Some(over)).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["phone_numbers"]);
    let wrong = json!({"phone_numbers": ["+14155550101", "555"]});
    let answer = fake.ask("POST", "/api/v1/users/lookup", Some(wrong)).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["phone_numbers[1]"]);
}

#[tokio::test(flavor = "current_thread")]
async fn devices_are_listed_and_revoked_at_one_s_own_object() {
    let fake = Fake::new(|made| {
        Ok(if made.call() == "list_devices" {
            json!({"devices": []})
        } else {
            Value::Null
        })
    });
    let list = fake.ask("GET", "/api/v1/users/me/devices", None).await;
    assert_eq!(list.json(), json!({"devices": []}));
    let revoked = fake
        .ask("DELETE", &format!("/api/v1/users/me/devices/{ID}"), None)
        .await;
    assert_eq!((revoked.status, revoked.body.len()), (204, 0));
    let made = fake.made.borrow();
    assert_eq!(
        made[1].request,
        json!({"revoke_device": {"device_id": DEVICE, "revoked": ID}})
    );
    assert_eq!(made[1].name, ME);
}
