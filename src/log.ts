import { pino } from 'pino'
import { LOG_LEVELS, type LogFields, type Logger, type LogLevel } from './core/log.ts'

export type LogFormat = 'pretty' | 'json'

type LogOptions = {
  readonly level: LogLevel
  readonly format: LogFormat
  /** Takes finished lines, their ends included. */
  readonly write: (line: string) => void
  readonly hasColours?: boolean
}

/** Never written, should one get among the fields, or into an object there. */
const SECRETS = ['password', 'passphrase', 'secret', 'token', 'authorization', 'cookie']

/** A logger that writes a line per event: an object of JSON, or text for people. */
export function createLogger({ level, format, write, hasColours = false }: LogOptions): Logger {
  const pretty = (line: string) => write(prettyLine(JSON.parse(line), hasColours))
  const log = pino(
    {
      // What is too little is kept back before, so that the level may change.
      level: 'trace',
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: pino.stdSerializers.err },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    { write: format === 'pretty' ? pretty : write },
  )
  return adapt(log, { least: LOG_LEVELS.indexOf(level) })
}

/** As configured: to standard error, in the format that suits who reads there. */
export function processLogger(config: {
  readonly level: LogLevel
  readonly format: LogFormat | 'auto'
}): Logger {
  const { stderr } = process
  const format = config.format === 'auto' ? (stderr.isTTY ? 'pretty' : 'json') : config.format
  const hasColours = stderr.isTTY && stderr.hasColors()
  return createLogger({
    level: config.level,
    format,
    hasColours,
    write: (line) => stderr.write(line),
  })
}

type PinoLogger = Pick<
  pino.Logger,
  'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'child'
>

/** The place of the least important level that is written, for a log and its children. */
type Gate = { least: number }

function adapt(log: PinoLogger, gate: Gate): Logger {
  const at = (level: LogLevel) => {
    const place = LOG_LEVELS.indexOf(level)
    return (event: string, fields?: LogFields) => {
      if (place < gate.least) return
      if (fields === undefined) log[level](event)
      else log[level](fields, event)
    }
  }
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    isEnabled: (level) => LOG_LEVELS.indexOf(level) >= gate.least,
    setLevel(level) {
      gate.least = LOG_LEVELS.indexOf(level)
    },
    child: (fields) => adapt(log.child(fields), gate),
  }
}

const COLOURS: Readonly<Record<string, number>> = {
  trace: 90,
  debug: 90,
  info: 32,
  warn: 33,
  error: 31,
  fatal: 35,
}

type Written = {
  readonly level: LogLevel
  readonly time: string
  readonly event: string
  readonly error?: { readonly stack?: string; readonly message?: string }
  readonly [field: string]: unknown
}

/** `12:34:56.789 INFO  session_opened jid=alice@localhost/phone`, and below it an error's stack. */
function prettyLine(
  { level, time, event, error, ...fields }: Written,
  hasColours: boolean,
): string {
  const colour = (code: number, text: string) => (hasColours ? `\x1b[${code}m${text}\x1b[0m` : text)
  const [, clock = time] = /T(.*)Z$/.exec(time) ?? []
  const parts = Object.entries(fields).map(([name, value]) => `${name}=${fieldText(value)}`)
  const name = colour(COLOURS[level] ?? 0, level.toUpperCase().padEnd(5))
  const head = [colour(90, clock), name, event, ...parts].join(' ')
  const stack = error && (error.stack ?? error.message ?? JSON.stringify(error))
  return stack === undefined ? `${head}\n` : `${head}\n${stack.replace(/^/gm, '    ')}\n`
}

/** On one line, and without control characters: a stranger may have chosen it. */
function fieldText(value: unknown): string {
  const isPlain = typeof value === 'string' && /^[^\s"=\p{Cc}]+$/u.test(value)
  return isPlain ? value : JSON.stringify(value)
}
