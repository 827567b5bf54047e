/**
 * Room `http`: the public surface, `millrace/http`.
 */
export type { BalanceName } from './balance.ts';
export { Body, type BodyConsumer, BodyError } from './body.ts';
export { type FilesHandler, type FilesOptions, files } from './files.ts';
export type { ForwardedStyle } from './forwarding.ts';
export type { HealthCheckOptions } from './health.ts';
export { type ProxyHandler, type ProxyOptions, proxy, type UpstreamOption } from './proxy.ts';
export { Request } from './request.ts';
export { Response } from './response.ts';
export { type Handler, type Route, Routes } from './routes.ts';
export { type RouteTable, Serving, serve } from './serve.ts';
export { defaultLimits, type HttpLimits, HttpServer, type HttpServerOptions } from './server.ts';
