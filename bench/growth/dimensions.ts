import { execFile, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { faultsOf, type Figures as Generated, generate } from '../generator.ts'
import { Server } from '../server.ts'
import { configuration, meerkat, startOf } from '../targets/meerkat.ts'
import type { Target } from '../targets/target.ts'

export type Figures = Readonly<Record<string, number>>

export interface Measure {
  readonly title: string
  readonly field: string
  readonly digits: number
  readonly isCharted?: boolean
}

/** One thing of which there can be more or less. */
export interface Dimension {
  readonly name: string
  readonly title: string
  /** What is measured, for people. */
  readonly about: string
  readonly counted: string
  readonly steps: readonly number[]
  readonly measures: readonly Measure[]
  /** So slow that one round is enough. */
  readonly isSlow?: boolean
  /** On a fresh server with its data in `directory`, which is empty. */
  measure(step: number, directory: string): Promise<Figures>
}

const SECONDS = ['--time', '2', '--warmup', '1']

/** The CPU of a message, and noise: whatever else the machine had to do. */
const noise: Measure = { title: 'other cores', field: 'other_cores', digits: 2 }
const cpuOf = (what: string): Measure => ({
  title: `CPU µs a ${what}`,
  field: 'cpu_us',
  digits: 2,
  isCharted: true,
})

/** Anybody may come in, so that no accounts have to be made. */
const openOn = (processes: number): Target => ({
  ...meerkat,
  launch(setup) {
    const file = join(setup.directory, 'meerkat.toml')
    const text = `workers = ${processes}\n${configuration(setup)}`
      .replace('[auth]', '[auth]\nanonymous = true')
      .replace('[modules.anonymous]\nenabled = false\n', '')
    writeFileSync(file, text)
    return { command: startOf(file) }
  },
})

const open = openOn(1)

async function withServer(
  directory: string,
  { target = meerkat, accounts = 0 }: { target?: Target; accounts?: number },
  act: (run: (...options: string[]) => Promise<Generated>) => Promise<Figures>,
): Promise<Figures> {
  const server = await Server.start(target, { setting: { variant: 'bare' }, directory })
  try {
    if (accounts > 0) await target.register?.({ directory }, accounts)
    return await act(async (...options) => {
      const { port, pids } = server
      const figures = await generate(options, { port, pids })
      const faults = faultsOf(figures)
      if (faults !== undefined) throw new Error(faults)
      return figures
    })
  } finally {
    await server.stop()
  }
}

function common(figures: Generated): Figures {
  return {
    cpu_us: Number(figures.server_cpu_s_per_1000) * 1000,
    other_cores: Number(figures.other_cores),
  }
}

const PAIRED = 200
/** Of files, of which each connection is one, and the server has some more. */
const OPEN_FILES = Number(
  spawnSync('sh', ['-c', 'ulimit -n 1000000 2>/dev/null; ulimit -Hn'], { encoding: 'utf8' }).stdout,
)
const MOST_CONNECTIONS = Number.isFinite(OPEN_FILES) ? OPEN_FILES - 500 : 1_000_000

const sessions: Dimension = {
  name: 'sessions',
  title: 'Connected clients',
  about:
    'So many clients are connected, available and idle, while 100 pairs of others send messages (W=1). Memory is what the process has more than before the first came; CPU of a login is that of all of them, one after the other. As many as the limit of open files allows (`ulimit -Hn`).',
  counted: 'clients',
  steps: [1000, 2000, 5000, 10_000, 19_000, 50_000].filter((step) => step <= MOST_CONNECTIONS),
  measures: [
    { title: 'KiB a client', field: 'kib', digits: 1, isCharted: true },
    { title: 'CPU ms a login', field: 'login_ms', digits: 3, isCharted: true },
    cpuOf('message'),
    noise,
  ],
  measure: (step, directory) =>
    withServer(directory, { target: open }, async (run) => {
      const figures = await run(
        ...['--anonymous', '--clients', String(PAIRED), '--idle', String(step - PAIRED)],
        ...['--sources', '8', '--parallel', '64', ...SECONDS, 'pairs'],
      )
      const grown = Number(figures.rss_login_kb) - Number(figures.rss_start_kb)
      const login_ms = Number(figures.login_server_cpu_ms_each)
      return { ...common(figures), kib: grown / step, login_ms }
    }),
}

const CROWD_PROCESSES = 3

const crowd: Dimension = {
  name: 'crowd',
  title: 'Connected clients, on three processes',
  about: `So many clients are connected, available and idle, on a server of ${CROWD_PROCESSES} processes (\`workers = ${CROWD_PROCESSES}\`), from as many generators: where one process may not open that many files.`,
  counted: 'clients',
  steps: [3000, 9000, 18_000, 50_000].filter((step) => step <= MOST_CONNECTIONS * 2.6),
  isSlow: true,
  measures: [
    { title: 'KiB a client', field: 'kib', digits: 1, isCharted: true },
    { title: 'CPU ms a login', field: 'login_ms', digits: 3, isCharted: true },
    { title: 'logins/s', field: 'logins_per_s', digits: 0 },
    { title: 'server cores when idle', field: 'idle_cores', digits: 3 },
  ],
  measure: (step, directory) =>
    withServer(directory, { target: openOn(CROWD_PROCESSES) }, async (run) => {
      const parts = await Promise.all(
        Array.from({ length: CROWD_PROCESSES }, () =>
          run(
            ...['--anonymous', '--clients', String(Math.floor(step / CROWD_PROCESSES))],
            ...['--sources', '8', '--parallel', '32', '--hold', '20', 'idle'],
          ),
        ),
      )
      const all = (field: string) => parts.map((part) => Number(part[field]))
      const sum = (field: string) => all(field).reduce((a, b) => a + b)
      // Each generator sees all processes of the server, while all of them log in at the same time.
      return {
        kib: (Math.max(...all('rss_hold_kb')) - Math.min(...all('rss_start_kb'))) / step,
        login_ms: sum('login_server_cpu_ms_each') / CROWD_PROCESSES ** 2,
        logins_per_s: sum('logins_per_s'),
        idle_cores: Math.min(...all('idle_server_cores')),
      }
    }),
}

const roster: Dimension = {
  name: 'roster',
  title: 'Contacts in a roster',
  about:
    'One client changes its status over and over; so many contacts, all connected, see each change before the next.',
  counted: 'contacts',
  steps: [10, 30, 100, 300, 1000, 2000],
  measures: [{ title: 'CPU ms a change', field: 'each_ms', digits: 3 }, cpuOf('contact'), noise],
  measure: (step, directory) =>
    withServer(directory, { accounts: step + 1 }, async (run) => {
      await run('--clients', String(step + 1), 'subscribe')
      const figures = await run('--resources', String(step), ...SECONDS, 'presence')
      return { ...common(figures), each_ms: Number(figures.server_cpu_ms_each) }
    }),
}

const resources: Dimension = {
  name: 'resources',
  title: 'Resources of an account',
  about:
    'An account is connected so many times; one message after the other comes to its bare address, and to all of them.',
  counted: 'resources',
  steps: [1, 3, 10, 30, 100, 300, 1000],
  measures: [{ title: 'CPU ms a message', field: 'each_ms', digits: 3 }, cpuOf('copy'), noise],
  measure: (step, directory) =>
    withServer(directory, { accounts: 2 }, async (run) => {
      const figures = await run('--resources', String(step), ...SECONDS, 'fanout')
      return { ...common(figures), each_ms: Number(figures.server_cpu_ms_each) }
    }),
}

const size: Dimension = {
  name: 'size',
  title: 'Size of a message',
  about: '100 pairs send messages with bodies of so many octets (W=10).',
  counted: 'octets',
  steps: [100, 300, 1000, 3000, 10_000, 30_000, 100_000],
  measures: [
    cpuOf('message'),
    { title: 'CPU µs a KiB', field: 'kib_us', digits: 2, isCharted: true },
    noise,
  ],
  measure: (step, directory) =>
    withServer(directory, { target: open }, async (run) => {
      const figures = await run(
        ...['--anonymous', '--clients', String(PAIRED), '--window', '10'],
        ...['--body', String(step), ...SECONDS, 'pairs'],
      )
      const own = common(figures)
      return { ...own, kib_us: (Number(own.cpu_us) / step) * 1024 }
    }),
}

const archiveProgram = fileURLToPath(new URL('../archive.ts', import.meta.url))

/** Of what `archive.ts` prints; latencies in microseconds. */
interface ArchiveFigures {
  readonly fillSeconds: number
  readonly full: Readonly<Record<'write2' | 'write100', { readonly totalMicros: number }>>
  readonly pages: Readonly<
    Record<
      'newest' | 'middle' | 'ofContact',
      { readonly p50Micros: number; readonly p99Micros: number }
    >
  >
}

const archive: Dimension = {
  name: 'archive',
  title: 'Messages in the archive',
  about:
    'What a row costs to write, two and a hundred rows at a time, and how long a page of 50 takes, when the archive of 200 accounts has so many rows already (`node bench/archive.ts`).',
  counted: 'rows',
  steps: [100_000, 1_000_000, 3_000_000, 10_000_000],
  isSlow: true,
  measures: [
    { title: 'CPU µs a row, by 2', field: 'write2', digits: 1 },
    { title: 'CPU µs a row, by 100', field: 'write100', digits: 1, isCharted: true },
    { title: 'newest page, p50 ms', field: 'newest', digits: 2 },
    { title: 'p99 ms', field: 'newest_p99', digits: 2 },
    { title: 'from the middle, p50 ms', field: 'middle', digits: 2, isCharted: true },
    { title: 'p99 ms', field: 'middle_p99', digits: 2 },
    { title: 'with one contact, p50 ms', field: 'contact', digits: 2 },
    { title: 'p99 ms', field: 'contact_p99', digits: 2 },
  ],
  async measure(step, directory) {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [archiveProgram, String(step), '2'],
      { cwd: directory, env: { ...process.env, TMPDIR: directory } },
    )
    const { full, pages } = JSON.parse(stdout) as ArchiveFigures
    return {
      write2: full.write2.totalMicros,
      write100: full.write100.totalMicros,
      newest: pages.newest.p50Micros / 1000,
      newest_p99: pages.newest.p99Micros / 1000,
      middle: pages.middle.p50Micros / 1000,
      middle_p99: pages.middle.p99Micros / 1000,
      contact: pages.ofContact.p50Micros / 1000,
      contact_p99: pages.ofContact.p99Micros / 1000,
    }
  },
}

export const DIMENSIONS: readonly Dimension[] = [sessions, crowd, roster, resources, size, archive]
