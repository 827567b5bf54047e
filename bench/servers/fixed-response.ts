/** The bytes that the servers without a parser answer with; as long as those of nginx 1.22 for the same body. */
export const fixedResponse: Buffer = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: fixed/1.22.1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n' +
    'Content-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!',
);
