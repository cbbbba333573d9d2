import { spawnSync } from 'node:child_process'
import os from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly kernel: string
}

export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
  }
}

/** The installed version of a Debian package; undefined where there is none. */
export function debianVersion(name: string): string | undefined {
  return output('dpkg-query', '--show', name)?.split('\t')[1]
}

/** The commit that is checked out, marked if the sources differ from it. */
export function gitCommit(): string {
  const commit = output('git', 'rev-parse', '--short', 'HEAD') ?? 'unknown'
  const changes = output('git', 'status', '--porcelain', '--', '../src')
  return changes === undefined ? commit : `${commit} and changes`
}

/** What a command prints; undefined if it fails, is missing or prints nothing. */
function output(command: string, ...options: string[]): string | undefined {
  const { status, stdout } = spawnSync(command, options, {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  })
  const text = status === 0 ? stdout.trim() : ''
  return text === '' ? undefined : text
}
