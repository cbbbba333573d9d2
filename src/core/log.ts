export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

export type LogLevel = (typeof LOG_LEVELS)[number]

/**
 * What belongs to an event. Never message bodies, never secrets. An error goes under `error`, and
 * is written with its stack and causes.
 */
export type LogFields = Readonly<Record<string, unknown>>

/**
 * Where everybody logs. The event is a constant name in snake_case, so that one can search and
 * count it; whatever varies is a field: `log.info('session_opened', { jid })`.
 *
 * On a hot path, ask `isEnabled` before building fields.
 */
export interface Logger {
  trace(event: string, fields?: LogFields): void
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  /** Something an operator should look at; the server copes. */
  warn(event: string, fields?: LogFields): void
  /** Something failed that must not, our bugs included. */
  error(event: string, fields?: LogFields): void
  /** The process cannot go on. */
  fatal(event: string, fields?: LogFields): void

  isEnabled(level: LogLevel): boolean

  /** Writes less or more from now on, in all that were made by `child` as well. */
  setLevel?(level: LogLevel): void

  /** The same log, with these fields added to each event. */
  child(fields: LogFields): Logger
}

/** Keeps nothing. For tests and for those who embed the server without a log. */
export const silentLogger: Logger = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  fatal() {},
  isEnabled: () => false,
  child: () => silentLogger,
}
