import type { Setting } from './targets/target.ts'

/** How much of everything. */
export interface Scale {
  /** Measured time of one run. */
  readonly seconds: number
  /** Time before it. */
  readonly warmUpSeconds: number
  /** Accounts that log in, in `login`. */
  readonly logins: number
  /** Connections in `idle`. */
  readonly connections: number
  /** Who see the presence, in `presence`. */
  readonly contacts: number
}

export const FULL: Scale = {
  seconds: 3,
  warmUpSeconds: 1,
  logins: 1000,
  connections: 10_000,
  contacts: 1000,
}
export const QUICK: Scale = {
  seconds: 1,
  warmUpSeconds: 0.5,
  logins: 200,
  connections: 1000,
  contacts: 100,
}

/** A figure of xload, as it is shown. */
export interface Measure {
  readonly title: string
  readonly field: string
  readonly better: 'more' | 'less'
  readonly factor: number
  readonly digits: number
  /** Whether the servers are compared by it. */
  readonly compared: boolean
}

function measure(
  title: string,
  field: string,
  better: Measure['better'],
  options: { factor?: number; digits?: number; compared?: boolean } = {},
): Measure {
  return { title, field, better, factor: 1, digits: 0, compared: false, ...options }
}

const throughput = measure('messages/s', 'msgs_per_s', 'more', { compared: true })
const cpu = measure('CPU µs/message', 'server_cpu_s_per_1000', 'less', {
  factor: 1000,
  digits: 1,
  compared: true,
})
const cpuOfCopy = { ...cpu, title: 'CPU µs/copy' }
const cpuOfBroadcast = measure('CPU ms/broadcast', 'server_cpu_ms_each', 'less', {
  digits: 2,
  compared: true,
})
const cpuOfLogin = measure('CPU ms/login', 'login_server_cpu_ms_each', 'less', {
  digits: 2,
  compared: true,
})
const memory = measure('KiB/connection', 'kb_per_conn', 'less', { digits: 1, compared: true })
const p50 = measure('p50 ms', 'lat_p50_ms', 'less', { digits: 2 })
const p99 = measure('p99 ms', 'lat_p99_ms', 'less', { digits: 2 })
const noise = measure('other cores', 'other_cores', 'less', { digits: 2 })

/** Scenarios of one kind share a table. */
export interface Kind {
  readonly title: string
  readonly measures: readonly Measure[]
  /** Whether a relay without XMPP can do it. */
  readonly isRaw: boolean
}

const pairs: Kind = {
  title: 'Pairs: as fast as it goes',
  isRaw: true,
  measures: [
    throughput,
    cpu,
    p50,
    p99,
    measure('server cores', 'server_cores', 'less', { digits: 2 }),
    noise,
  ],
}

const rate: Kind = {
  title: 'Rate: latency at a fixed load',
  isRaw: true,
  measures: [
    { ...p50, compared: true },
    { ...p99, compared: true },
    measure('max ms', 'lat_max_ms', 'less', { digits: 1 }),
    measure('lost', 'lost', 'less'),
    cpu,
    noise,
  ],
}

const fanOut: Kind = {
  title: 'Fan-out: one message to many',
  isRaw: false,
  measures: [
    { ...throughput, title: 'copies/s' },
    cpuOfCopy,
    measure('copies/message', 'copies_per_message', 'more'),
    noise,
  ],
}

const presence: Kind = {
  title: 'Presence: one change of status to all contacts',
  isRaw: false,
  measures: [
    cpuOfBroadcast,
    { ...cpu, title: 'CPU µs/contact', compared: false },
    measure('contacts', 'copies_per_message', 'more'),
    p50,
    noise,
  ],
}

const login: Kind = {
  title: 'Login',
  isRaw: false,
  measures: [
    measure('logins/s', 'logins_per_s', 'more', { compared: true }),
    cpuOfLogin,
    measure('p50 ms', 'login_p50_ms', 'less', { digits: 1 }),
    measure('p99 ms', 'login_p99_ms', 'less', { digits: 1 }),
  ],
}

const idle: Kind = {
  title: 'Idle connections',
  isRaw: true,
  measures: [
    memory,
    measure('MiB in all', 'rss_hold_kb', 'less', { factor: 1 / 1024 }),
    measure('server cores', 'idle_server_cores', 'less', { digits: 3 }),
  ],
}

/** What the first server is to reach, in the unit of the measure. */
interface Bounds {
  readonly first: number
  readonly later: number
}

export interface Goal extends Bounds {
  readonly measure: Measure
}

export interface Scenario {
  readonly name: string
  readonly kind: Kind
  /** Scenarios of a group share the setting and run one after the other on one start of the server. */
  readonly group: string
  readonly setting: Setting
  readonly goal?: Goal
  /** How often it runs unmeasured first. */
  readonly warmUps?: number
  /** Accounts it needs, `user0` and on. */
  accounts(scale: Scale): number
  options(scale: Scale): readonly string[]
  /** Run once, when the accounts have been created. */
  prepare?(scale: Scale): readonly string[]
}

/** Whether a relay without XMPP can take part. */
export function isRaw({ kind, setting }: Scenario): boolean {
  return kind.isRaw && setting.variant === 'bare' && !setting.tls
}

const bare: Setting = { variant: 'bare' }
const typical: Setting = { variant: 'typical' }
const archive: Setting = { variant: 'archive' }
const tls: Setting = { variant: 'bare', tls: true }

const PAIRED_CLIENTS = 200
const BODY_BYTES = 100

const timed = (scale: Scale) => [
  ...['--time', String(scale.seconds), '--warmup', String(scale.warmUpSeconds)],
  ...['--body', String(BODY_BYTES)],
]

/** `name` is that of the group, too, with the window after it. */
function pairsScenario(
  name: string,
  setting: Setting,
  { window, first, later }: Bounds & { readonly window: number },
): Scenario {
  return {
    name: `${name}-w${window}`,
    kind: pairs,
    group: name,
    setting,
    goal: { measure: cpu, first, later },
    accounts: () => PAIRED_CLIENTS,
    options: (scale) => [
      ...['--clients', String(PAIRED_CLIENTS), '--window', String(window)],
      ...timed(scale),
      'pairs',
    ],
  }
}

function rateScenario(perSecond: number, first: number, later: number): Scenario {
  return {
    name: `rate-${perSecond}`,
    kind: rate,
    group: 'pairs',
    setting: bare,
    goal: { measure: p99, first, later },
    accounts: () => PAIRED_CLIENTS,
    options: (scale) => [
      ...['--clients', String(PAIRED_CLIENTS), '--rate', String(perSecond)],
      ...timed(scale),
      'rate',
    ],
  }
}

function fanOutScenario(resources: number): Scenario {
  return {
    name: `fanout-${resources}`,
    kind: fanOut,
    group: 'pairs',
    setting: bare,
    accounts: () => 2,
    options: (scale) => ['--resources', String(resources), ...timed(scale), 'fanout'],
  }
}

const manyResources: Scenario = {
  ...fanOutScenario(100),
  goal: { measure: cpuOfCopy, first: 3, later: 1.5 },
}

/** Ten messages on their way: what has come in for one recipient meanwhile is one write. */
function withTen(scenario: Scenario): Scenario {
  const { goal: _, ...rest } = scenario
  return {
    ...rest,
    name: `${scenario.name}-w10`,
    options: (scale) => ['--window', '10', ...scenario.options(scale)],
  }
}

const room: Scenario = {
  name: 'room-100',
  kind: fanOut,
  group: 'room',
  setting: { variant: 'bare', component: true },
  goal: { measure: cpuOfCopy, first: 3, later: 1.5 },
  accounts: () => 100,
  options: (scale) => ['--resources', '100', ...timed(scale), 'room'],
}

const contacts: Scenario = {
  name: 'presence',
  kind: presence,
  group: 'presence',
  setting: bare,
  goal: { measure: cpuOfBroadcast, first: 3, later: 1.5 },
  accounts: (scale) => scale.contacts + 1,
  prepare: (scale) => ['--clients', String(scale.contacts + 1), 'subscribe'],
  options: (scale) => ['--resources', String(scale.contacts), ...timed(scale), 'presence'],
}

/** V8 compiles until some 4,000 logins are over: they take as long as messages are sent to warm up. */
const LOGIN_WARM_UPS = 4

function loginScenario(name: string, setting: Setting, goal: Bounds): Scenario {
  return {
    name,
    kind: login,
    group: name,
    setting,
    goal: { measure: cpuOfLogin, ...goal },
    warmUps: LOGIN_WARM_UPS,
    accounts: (scale) => scale.logins,
    options: (scale) => ['--clients', String(scale.logins), 'login'],
  }
}

function idleScenario(name: string, setting: Setting, goal: Bounds): Scenario {
  return {
    name,
    kind: idle,
    group: name,
    setting,
    goal: { measure: memory, ...goal },
    accounts: (scale) => scale.connections,
    options: (scale) => [
      ...['--clients', String(scale.connections), '--parallel', '64'],
      ...['--hold', String(scale.seconds), 'idle'],
    ],
  }
}

export const SCENARIOS: readonly Scenario[] = [
  pairsScenario('pairs', bare, { window: 1, first: 18, later: 15 }),
  pairsScenario('pairs', bare, { window: 10, first: 5, later: 3 }),
  pairsScenario('pairs', bare, { window: 100, first: 3, later: 2 }),
  rateScenario(5000, 3, 1),
  rateScenario(10_000, 10, 3),
  fanOutScenario(10),
  manyResources,
  withTen(manyResources),
  pairsScenario('typical', typical, { window: 1, first: 28, later: 22 }),
  pairsScenario('typical', typical, { window: 10, first: 10, later: 7 }),
  pairsScenario('archive', archive, { window: 1, first: 45, later: 30 }),
  pairsScenario('archive', archive, { window: 10, first: 20, later: 12 }),
  pairsScenario('tls', tls, { window: 1, first: 35, later: 28 }),
  pairsScenario('tls', tls, { window: 10, first: 10, later: 6 }),
  room,
  withTen(room),
  contacts,
  withTen(contacts),
  loginScenario('login', bare, { first: 0.35, later: 0.2 }),
  loginScenario('login-scram', { variant: 'bare', scram: true }, { first: 0.35, later: 0.2 }),
  idleScenario('idle', bare, { first: 12, later: 8 }),
  idleScenario('idle-tls', tls, { first: 30, later: 20 }),
]

/** Whether the generator needs OpenSSL for it. */
export function needsOpenssl({ setting }: Scenario): boolean {
  return Boolean(setting.tls || setting.scram || setting.component)
}

/** Creates the accounts that are missing. */
export function registration(accounts: number): readonly string[] {
  return ['--clients', String(accounts), '--register', 'login']
}
