//! `/auth/*` and the set of public keys.
//!
//! A login goes to two objects: the account of the number checks the code and says which user
//! the number has, and the user signs the device in. All that can be refused without them is
//! refused first, so that no code is used up for nothing.

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Response, StatusCode};
use parlance_shared::account::call::{AccountName, RequestCode, VerifyCode, WithdrawCode};
use parlance_shared::limits;
use parlance_shared::protocol::auth::{
    CodeRequest, CodeSent, LoginRequest, RefreshRequest, Session,
};
use parlance_shared::protocol::input::Fields;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::user::call::{Refresh, SignIn, SignOut, SignedIn};
use parlance_shared::user::refresh::RefreshToken;

use super::Handled;
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;
use crate::limit;
use crate::verification::{CodeSender, Delivery, SendFailure};

/// Digits of a verification code.
const CODE_DIGITS: usize = 6;

/// `POST /auth/code`
pub(crate) async fn request_code<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let CodeRequest { phone_number } = exchange.body()?;
    let account = exchange.config.phone_hash_key.account(&phone_number);
    let issued = exchange.backend.account(&account, RequestCode {}).await?;
    let sent = exchange
        .config
        .code_provider
        .send(exchange.backend, &phone_number, &issued.code)
        .await;
    let dev_code = match sent {
        Ok(Delivery::Sent) => None,
        Ok(Delivery::Shown) => Some(issued.code),
        Err(failure) => return Err(give_up(exchange, &account, issued.code, &failure).await),
    };
    let expires_in = issued.expires_in;
    answer::json(
        StatusCode::ACCEPTED,
        &CodeSent {
            expires_in,
            dev_code,
        },
    )
}

/// Withdraws a code that was not sent, and says what the client is told.
async fn give_up<B: Backend>(
    exchange: &Exchange<'_, B>,
    account: &AccountName,
    code: String,
    failure: &SendFailure,
) -> Problem {
    exchange.log_failure("code_not_sent", &failure.to_string());
    if let Err(problem) = exchange
        .backend
        .account(account, WithdrawCode { code })
        .await
    {
        // It lives on, unknown to anyone, until it expires.
        exchange.log_failure("code_not_withdrawn", problem.code.as_str());
    }
    match failure {
        SendFailure::InvalidNumber(_) => {
            Problem::invalid_field("phone_number", "cannot be sent a text message")
        }
        SendFailure::Failed(_) => {
            Problem::unavailable("The code could not be sent. Please try again later.")
        }
    }
}

/// `POST /auth/login`
pub(crate) async fn login<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let LoginRequest {
        phone_number,
        verification_code,
        device_name,
    } = exchange.body()?;
    let mut fields = Fields::new();
    fields.require(
        verification_code.len() == CODE_DIGITS
            && verification_code.bytes().all(|byte| byte.is_ascii_digit()),
        "verification_code",
        format!("must be {CODE_DIGITS} digits"),
    );
    if let Some(name) = &device_name {
        fields.label("device_name", name, limits::NAME_CHARS);
    }
    fields.finish()?;
    limit::login(exchange).await?;
    let account = exchange.config.phone_hash_key.account(&phone_number);
    let verified = exchange
        .backend
        .account(
            &account,
            VerifyCode {
                code: verification_code,
            },
        )
        .await?;
    let sign_in = SignIn {
        user_id: verified.user_id,
        phone_number,
        device_name,
    };
    let signed_in = exchange.backend.user(verified.user_id, sign_in).await?;
    session(exchange, signed_in)
}

/// `POST /auth/refresh`
pub(crate) async fn refresh<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let RefreshRequest { refresh_token } = exchange.body()?;
    let token: RefreshToken = refresh_token.parse()?;
    let user_id = token.user_id;
    let signed_in = exchange.backend.user(user_id, Refresh { token }).await?;
    session(exchange, signed_in)
}

/// A device is signed in: its session, with a new access token.
fn session<B: Backend>(exchange: &Exchange<'_, B>, signed_in: SignedIn) -> Handled {
    let SignedIn {
        user_id,
        device_id,
        refresh_token,
        is_new_user,
    } = signed_in;
    let (token, expires_at) = exchange
        .config
        .keys
        .issue(user_id, device_id, exchange.backend.now())
        .map_err(|error| {
            exchange.log_failure("token_not_issued", &error);
            Problem::internal()
        })?;
    let session = Session {
        token,
        user_id,
        device_id,
        expires_at,
        refresh_token,
        is_new_user,
    };
    answer::json(StatusCode::OK, &session)
}

/// `POST /auth/logout`
pub(crate) async fn logout<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let sign_out = SignOut {
        device_id: caller.device_id,
    };
    exchange.backend.user(caller.user_id, sign_out).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `GET /.well-known/jwks.json`
pub(crate) fn key_set<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let mut response: Response<_> = answer::json(StatusCode::OK, &exchange.config.keys.key_set())?;
    // Short enough that a new key is known before the old one is taken away.
    response.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    Ok(response)
}
