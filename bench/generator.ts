import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, statSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { launch } from './server.ts'
import { PASSWORD } from './targets/target.ts'

const source = fileURLToPath(new URL('./xload.c', import.meta.url))
const folder = fileURLToPath(new URL('./build', import.meta.url))
const program = `${folder}/xload`

const RUN_SECONDS = 300

/** The fields that xload prints; the README explains them. */
export type Figures = Readonly<Record<string, number | string>>

/** Compiles xload unless the last build is newer than its source. */
export function buildGenerator(): void {
  const built = statSync(program, { throwIfNoEntry: false })
  if (built && built.mtimeMs > statSync(source).mtimeMs) return
  mkdirSync(folder, { recursive: true })
  execFileSync('gcc', ['-O2', '-Wall', '-o', program, source], { stdio: 'inherit' })
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
  { port, pids, core }: { port: number; pids: readonly number[]; core?: number | undefined },
): Promise<Figures> {
  const server = ['--host', `127.0.0.1:${port}`, '--pid', pids.join(), '--password', PASSWORD]
  const command = [program, '--quiet', ...server]
  const child = launch([...command, ...options], { core, stdout: 'pipe', stderr: 'pipe' })
  if (!child.stdout || !child.stderr) throw new Error('xload has no output')
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_SECONDS * 1000)
  const ended = once(child, 'exit')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = await ended
  clearTimeout(timer)
  if (status !== 0) throw new Error(stderr.trim().split('\n').slice(-3).join(' / ').slice(-600))
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}
