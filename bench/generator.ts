import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, statSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { launch } from './server.ts'
import { COMPONENT, PASSWORD } from './targets/target.ts'

const source = fileURLToPath(new URL('./xload.c', import.meta.url))
const folder = fileURLToPath(new URL('./build', import.meta.url))
const program = `${folder}/xload`

const compiler = process.env.CC ?? 'cc'

const RUN_SECONDS = 300

/** The fields that xload prints; the README explains them. */
export type Figures = Readonly<Record<string, number | string>>

/** What xload is built with. Without OpenSSL there is no TLS, no SCRAM and no component. */
export interface Generator {
  readonly hasOpenssl: boolean
}

/**
 * Compiles xload unless the last build is newer than its source; with OpenSSL if its headers are
 * there. Throws if there is no C compiler.
 */
export function buildGenerator(): Generator {
  const built = statSync(program, { throwIfNoEntry: false })
  if (!built || built.mtimeMs < statSync(source).mtimeMs) compile()
  const { status } = spawnSync(program, ['--tls', '--help'], { stdio: 'ignore' })
  return { hasOpenssl: status === 0 }
}

function compile(): void {
  mkdirSync(folder, { recursive: true })
  const options = ['-O2', '-Wall', '-o', program, source]
  const withOpenssl = [...options, '-DWITH_OPENSSL', '-lssl', '-lcrypto']
  if (spawnSync(compiler, withOpenssl, { stdio: 'ignore' }).status === 0) return
  process.stderr.write('no OpenSSL headers (libssl-dev): without TLS, SCRAM and the room\n')
  execFileSync(compiler, options, { stdio: 'inherit' })
}

/** What must be zero in every run. */
const FAULTS = ['bounced', 'gaps', 'out_of_order'] as const

/** Messages that did not arrive as they were sent; undefined if there are none. */
export function faultsOf(figures: Figures): string | undefined {
  const faults = FAULTS.filter((field) => Number(figures[field] ?? 0) > 0)
  if (faults.length === 0) return undefined
  return faults.map((field) => `${figures[field]} ${field.replaceAll('_', ' ')}`).join(', ')
}

/** One run of xload. Throws if a login failed, connections were lost or nothing arrived. */
export async function generate(
  options: readonly string[],
  at: {
    readonly port: number
    readonly componentPort?: number | undefined
    readonly pids: readonly number[]
    readonly core?: number | undefined
    /** After which it is ended. */
    readonly seconds?: number
  },
): Promise<Figures> {
  const { port, componentPort, pids, core, seconds = RUN_SECONDS } = at
  const server = ['--host', `127.0.0.1:${port}`, '--pid', pids.join(), '--password', PASSWORD]
  const { domain, secret } = COMPONENT
  const component = ['--component-domain', domain, '--component-secret', secret]
  if (componentPort !== undefined) component.push('--component', String(componentPort))
  const command = [program, '--quiet', ...server, ...component]
  const child = launch([...command, ...options], { core, stdout: 'pipe', stderr: 'pipe' })
  if (!child.stdout || !child.stderr) throw new Error('xload has no output')
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
  const ended = once(child, 'exit')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = await ended
  clearTimeout(timer)
  if (status !== 0) throw new Error(stderr.trim().split('\n').slice(-3).join(' / ').slice(-600))
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}
