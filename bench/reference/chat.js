// The reference: the chat that anyone would write first as a plain JavaScript Durable Object. A
// room takes hibernatable sockets; a message is one row, an ack to its sender, and a broadcast to
// every socket. It speaks the frames of Parlance's conversation socket, so that the same load
// generator drives both and the same bytes go over the wire.
//
// It has no accounts, members, duplicates, receipts, inboxes or recovery: what those cost is what
// is measured. Must not be made slower than it has to be: it is there to be hard to beat.

import { DurableObject } from "cloudflare:workers";

export class Room extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    const pings = new WebSocketRequestResponsePair('{"type":"ping"}', '{"type":"pong"}');
    ctx.setWebSocketAutoResponse(pings);
    this.sql = ctx.storage.sql;
    this.sql.exec(`CREATE TABLE IF NOT EXISTS message (
      seq INTEGER PRIMARY KEY,
      message_id TEXT NOT NULL,
      sender_id TEXT NOT NULL,
      client_msg_id TEXT NOT NULL,
      content TEXT NOT NULL,
      content_type TEXT NOT NULL,
      created_at INTEGER NOT NULL
    )`);
  }

  fetch(request) {
    const user_id = new URL(request.url).searchParams.get("user");
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment(user_id);
    server.send(JSON.stringify({ type: "auth_ack", user_id }));
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage(socket, text) {
    const { conversation_id, client_msg_id, content, content_type } = JSON.parse(text);
    const sender_id = socket.deserializeAttachment();
    const message_id = crypto.randomUUID();
    const now = Date.now();
    const { seq } = this.sql
      .exec(
        `INSERT INTO message (message_id, sender_id, client_msg_id, content, content_type, created_at)
         VALUES (?, ?, ?, ?, ?, ?) RETURNING seq`,
        message_id,
        sender_id,
        client_msg_id,
        content,
        content_type,
        now,
      )
      .one();
    const created_at = new Date(now).toISOString();
    socket.send(
      JSON.stringify({ type: "msg_ack", client_msg_id, conversation_id, message_id, seq, created_at, status: "sent" }),
    );
    const message = JSON.stringify({
      type: "new_message",
      conversation_id,
      seq,
      message_id,
      sender_id,
      content,
      content_type,
      is_deleted: false,
      created_at,
    });
    for (const other of this.ctx.getWebSockets()) other.send(message);
  }

  webSocketClose(socket) {
    socket.close();
  }
}

export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/healthz") return new Response("ok");
    return env.ROOM.getByName(pathname).fetch(request);
  },
};
