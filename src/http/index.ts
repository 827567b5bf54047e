/**
 * Room `http`: the public surface, `millrace/http`.
 */
export { Body, type BodyConsumer, BodyError } from './body.ts';
export { Request } from './request.ts';
export { Response } from './response.ts';
export { type Handler, type Route, Routes } from './routes.ts';
export { type RouteTable, Serving, serve } from './serve.ts';
export { defaultLimits, type HttpLimits, HttpServer, type HttpServerOptions } from './server.ts';
