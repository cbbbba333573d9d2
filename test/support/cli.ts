import { dirname, join } from 'node:path'
import { runCli } from '../../src/admin/cli.ts'
import type { Command } from '../../src/admin/command.ts'
import { callCommand } from '../../src/admin/control-client.ts'
import { plain } from '../../src/admin/stream-command.ts'

const unused = async () => {
  throw new Error('not to be called')
}

/** Words as somebody types them. */
export function argvOf(command: Command, args: Readonly<Record<string, unknown>>): string[] {
  const given = command.positional.flatMap((name) => (name in args ? [String(args[name])] : []))
  const options = Object.entries(args)
    .filter(([name]) => !command.positional.includes(name))
    .flatMap(([name, value]) => {
      const flag = `--${name.replaceAll('_', '-')}`
      return value === true ? [flag] : [flag, String(value)]
    })
  return [...command.name.split(' '), ...given, ...options, '--json']
}

/**
 * Gives a command on a command line, over the socket of a server. Rejects with an error that has the
 * code of the refusal; `invalid` where the line cannot be meant (exit code 2).
 */
export async function giveOnCommandLine(
  commands: readonly Command[],
  socket: string,
  command: Command,
  args: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  let [stdout, stderr] = ['', '']
  let failure: unknown
  const code = await runCli(argvOf(command, args), {
    version: '1.2.3',
    calledAs: 'meerkat',
    directory: join(dirname(socket), 'transfer'),
    commands,
    streams: [],
    paint: plain,
    actions: {
      start: unused,
      checkConfig: unused,
      printConfigSchema: unused,
      copyStorage: unused,
      restore: unused,
      readSecret: unused,
      // The argument is what would be in the file.
      readFile: async (text) => text,
      follow: unused,
      async run({ name }, checked, { onProgress }) {
        try {
          return await callCommand(socket, name, checked, onProgress)
        } catch (error) {
          failure = error
          throw error
        }
      },
    },
    progress: { show() {}, clear() {} },
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      stderr += text
    },
  })
  if (code === 0) return JSON.parse(stdout)
  if (stderr.split('\n').length !== 2) throw new Error(`not one line: ${stderr}`)
  if (code === 2) throw Object.assign(new Error(stderr), { code: 'invalid' })
  throw failure
}
