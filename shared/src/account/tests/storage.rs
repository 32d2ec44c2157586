//! What is stored: failures in the midst of a request, old databases, and the answers as they
//! travel.

use super::*;
use crate::account::schema;
use crate::entropy::Entropy;
use crate::sql::Sql;
use crate::sql::migrations::installed;
use crate::sql::native::NativeSql;

#[test]
fn asking_about_an_unknown_number_leaves_no_trace() {
    let mut account = Fixture::new();
    assert_eq!(
        account.verify("123456").unwrap_err().code,
        Code::Unauthenticated
    );
    account.withdraw("123456");
    assert_eq!(account.service.find_user(FindUser {}).unwrap(), None);
    assert_eq!(installed(&account.sql, schema::COMPONENT).unwrap(), None);
}

#[test]
fn a_failure_of_storage_changes_nothing_and_is_told() {
    let mut account = Fixture::new();
    account.request().unwrap();
    let sql = account.sql.clone();
    let code = sql.fail_everywhere(DUMP, || account.request());
    sql.fail_everywhere(DUMP, || match account.verify(&wrong(&code)) {
        Err(problem) if problem.code == Code::Unauthenticated => Ok(()),
        other => Err(other),
    });
    sql.fail_everywhere(DUMP, || account.verify(&code));
}

#[test]
fn each_request_writes_one_row_at_most() {
    let mut account = Fixture::new();
    let sql = account.sql.clone();
    account.request().unwrap();
    let (code, cost) = sql.cost(|| account.request().unwrap());
    assert_eq!(cost.written, 1);
    assert_eq!(sql.cost(|| account.guess(&code, 1)).1.written, 1);
    assert_eq!(sql.cost(|| account.verify(&code).unwrap()).1.written, 1);
    assert_eq!(sql.cost(|| account.guess(&code, 1)).1.written, 0);
}

#[test]
fn accounts_of_one_database_do_not_see_each_other() {
    let sql = Rc::new(ProbeSql::new());
    let entropy = SeededEntropy::new(5);
    let now = Timestamp::from_millis(0);
    let mut one = AccountService::new(sql.clone(), 1, AccountLimits::default());
    let mut other = AccountService::new(sql, 2, AccountLimits::default());
    let code = one
        .request_code(RequestCode {}, now, &entropy)
        .unwrap()
        .code;
    let call = VerifyCode { code };
    assert!(other.verify_code(&call, now, &entropy).is_err());
    let user = one.verify_code(&call, now, &entropy).unwrap().user_id;
    assert_eq!(other.find_user(FindUser {}).unwrap(), None);
    assert_eq!(one.find_user(FindUser {}).unwrap(), Some(user));
}

#[test]
fn answers_are_the_json_of_the_replies() {
    let mut account = Fixture::new();
    let now = account.clock.now();
    let entropy = SeededEntropy::new(3);
    let mut handle = |request| account.service.handle(request, now, &entropy).unwrap();
    let issued: CodeIssued = serde_json::from_str(&handle(RequestCode {}.into())).unwrap();
    assert_eq!(issued.expires_in, 600);
    let verified: Verified =
        serde_json::from_str(&handle(VerifyCode { code: issued.code }.into())).unwrap();
    assert_eq!(
        handle(FindUser {}.into()),
        format!("\"{}\"", verified.user_id)
    );
    assert_eq!(
        handle(
            WithdrawCode {
                code: "000000".to_owned()
            }
            .into()
        ),
        "null"
    );
}

#[test]
fn neither_code_nor_salted_hash_can_be_found_in_clear() {
    let mut account = Fixture::new();
    let code = account.request().unwrap();
    let stored = format!("{:?}", account.sql.dump(DUMP));
    assert!(!stored.contains(&code));
    let problem = account.verify(&wrong(&code)).unwrap_err();
    assert!(!format!("{problem:?}").contains(&wrong(&code)));
    assert!(!format!("{:?}", VerifyCode { code: code.clone() }).contains(&code));
}

/// A database as version 1 of the schema left it, literally.
#[test]
fn a_database_of_version_1_opens() {
    let sql = NativeSql::in_memory().unwrap();
    for statement in [
        "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO schema_version VALUES ('account', 1)",
        "CREATE TABLE account (scope INTEGER PRIMARY KEY, user_id BLOB, code_salt BLOB, code_digest BLOB,
            code_expires_at INTEGER, code_tries INTEGER NOT NULL, wrong_tries INTEGER NOT NULL,
            locked_until INTEGER, issued_at TEXT NOT NULL) WITHOUT ROWID",
        // The code is 123456 under a salt of zeros.
        "INSERT INTO account VALUES (1, x'00000000000040008000000000000001',
            x'00000000000000000000000000000000',
            x'bcfa9d35208eaff87d3d179ed05636b0b659157926158e3c645c1605a0c7d43f',
            1000000, 2, 2, NULL, '[1000,2000,3000,4000]')",
    ] {
        sql.exec(statement, &[]).unwrap();
    }
    let entropy = SeededEntropy::new(1);
    let entropy: &dyn Entropy = &entropy;
    let mut service = AccountService::new(sql, OBJECT_SCOPE, AccountLimits::default());
    let user: crate::ids::UserId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    assert_eq!(service.find_user(FindUser {}).unwrap(), Some(user));
    let now = Timestamp::from_millis(500_000);
    let call = VerifyCode {
        code: "123456".to_owned(),
    };
    assert_eq!(
        service.verify_code(&call, now, entropy).unwrap().user_id,
        user
    );
    service.request_code(RequestCode {}, now, entropy).unwrap();
    service
        .request_code(RequestCode {}, now, entropy)
        .unwrap_err();
}
