// The HTTP half of the foreign client: signing up, and reading a conversation's log.

import { randomInt } from "node:crypto";

import { check } from "./violation.mjs";

async function ask(base, method, path, { token, body } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  const url = `${base}/api/v1${path}`;
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : null };
}

export async function expect(statuses, base, method, path, options) {
  const reply = await ask(base, method, path, options);
  check(statuses.includes(reply.status), () => `${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  return reply.body;
}

export async function signUp(base) {
  // Country code 999 is not assigned: these numbers are nobody's.
  const phone_number = `+999${String(randomInt(1e12)).padStart(12, "0")}`;
  const session = await signIn(base, phone_number);
  check(session.is_new_user === true, "a new number is a new user");
  return session;
}

/** Signs a device of this number's user in. */
export async function signIn(base, phone_number) {
  const sent = await expect([202], base, "POST", "/auth/code", { body: { phone_number } });
  check(sent.dev_code, "the answer has no dev_code: is the server a development one?");
  const body = { phone_number, verification_code: sent.dev_code, device_name: "foreign client" };
  const session = await expect([200], base, "POST", "/auth/login", { body });
  return { ...session, phone_number };
}

/** The whole log of a conversation, oldest first, with its seqs checked. */
export async function readLog(base, token, conversation) {
  const events = [];
  for (;;) {
    const path = `/conversations/${conversation}/events?limit=1000&after_seq=${events.length}`;
    const page = await expect([200], base, "GET", path, { token });
    for (const event of page.events) {
      events.push(event);
      check(event.seq === events.length, () => `the log has a gap before ${JSON.stringify(event)}`);
    }
    if (!page.has_more) {
      check(page.head_seq === events.length, "the log's last page does not end at head_seq");
      return events;
    }
    check(page.events.length > 0, "a page with has_more is empty");
  }
}
