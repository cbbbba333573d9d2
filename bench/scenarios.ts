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
}

export const FULL: Scale = { seconds: 3, warmUpSeconds: 1, logins: 1000, connections: 10_000 }
export const QUICK: Scale = { seconds: 1, warmUpSeconds: 0.5, logins: 200, connections: 1000 }

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
  title: 'Fan-out: one account, many resources',
  isRaw: false,
  measures: [
    { ...throughput, title: 'copies/s' },
    { ...cpu, title: 'CPU µs/copy' },
    measure('copies/message', 'copies_per_message', 'more'),
    noise,
  ],
}

const login: Kind = {
  title: 'Login',
  isRaw: false,
  measures: [
    measure('logins/s', 'logins_per_s', 'more', { compared: true }),
    measure('CPU ms/login', 'login_server_cpu_ms_each', 'less', { digits: 2, compared: true }),
    measure('p50 ms', 'login_p50_ms', 'less', { digits: 1 }),
    measure('p99 ms', 'login_p99_ms', 'less', { digits: 1 }),
  ],
}

const idle: Kind = {
  title: 'Idle connections',
  isRaw: true,
  measures: [
    measure('KiB/connection', 'kb_per_conn', 'less', { digits: 1, compared: true }),
    measure('MiB in all', 'rss_hold_kb', 'less', { factor: 1 / 1024 }),
    measure('server cores', 'idle_server_cores', 'less', { digits: 3 }),
  ],
}

export interface Scenario {
  readonly name: string
  readonly kind: Kind
  /** Scenarios of a group run one after the other on one start of the server. */
  readonly group: 'messages' | 'login' | 'idle'
  /** Accounts it needs, `user0` and on. */
  accounts(scale: Scale): number
  options(scale: Scale): readonly string[]
  /** Run before the first measurement after a start, without being measured. */
  warmUp?(scale: Scale): readonly string[]
}

const PAIRED_CLIENTS = 200
const BODY_BYTES = 100

const timed = (scale: Scale) => [
  ...['--time', String(scale.seconds), '--warmup', String(scale.warmUpSeconds)],
  ...['--body', String(BODY_BYTES)],
]

function pairsScenario(window: number): Scenario {
  return {
    name: `pairs-w${window}`,
    kind: pairs,
    group: 'messages',
    accounts: () => PAIRED_CLIENTS,
    options: (scale) => [
      ...['--clients', String(PAIRED_CLIENTS), '--window', String(window)],
      ...timed(scale),
      'pairs',
    ],
  }
}

function rateScenario(perSecond: number): Scenario {
  return {
    name: `rate-${perSecond}`,
    kind: rate,
    group: 'messages',
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
    group: 'messages',
    accounts: () => 2,
    options: (scale) => ['--resources', String(resources), ...timed(scale), 'fanout'],
  }
}

const logins: Scenario = {
  name: 'login',
  kind: login,
  group: 'login',
  accounts: (scale) => scale.logins,
  warmUp: (scale) => ['--clients', String(scale.logins), 'login'],
  options: (scale) => ['--clients', String(scale.logins), 'login'],
}

const connections: Scenario = {
  name: 'idle',
  kind: idle,
  group: 'idle',
  accounts: (scale) => scale.connections,
  options: (scale) => [
    ...['--clients', String(scale.connections), '--parallel', '64'],
    ...['--hold', String(scale.seconds), 'idle'],
  ],
}

export const SCENARIOS: readonly Scenario[] = [
  pairsScenario(1),
  pairsScenario(10),
  pairsScenario(100),
  rateScenario(5000),
  rateScenario(10_000),
  fanOutScenario(10),
  fanOutScenario(100),
  logins,
  connections,
]

/** Creates the accounts that are missing. */
export function registration(accounts: number): readonly string[] {
  return ['--clients', String(accounts), '--register', 'login']
}
