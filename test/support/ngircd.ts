import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './free-port.ts'
import { within } from './inbox.ts'

export const NGIRCD = '/usr/sbin/ngircd'
const HOST = '127.0.0.1'
/** After so long without what a test waits for, it fails. */
const PATIENCE_SECONDS = 20

/** An IRC server, in a process of its own. */
export class Ngircd implements AsyncDisposable {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(port: number, child: ChildProcess) {
    this.port = port
    this.#child = child
  }

  /** What it needs is in `directory`. */
  static async start(directory: string): Promise<Ngircd> {
    const port = await freePort(HOST)
    const file = join(directory, 'ngircd.conf')
    await writeFile(
      file,
      `[Global]
Name = irc.example
Info = For tests
Listen = ${HOST}
Ports = ${port}
MotdPhrase = Welcome
[Limits]
MaxNickLength = 20
[Options]
DNS = no
Ident = no
PAM = no
`,
    )
    const child = spawn(NGIRCD, ['--nodaemon', '--config', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const server = new Ngircd(port, child)
    const ready = Promise.withResolvers<void>()
    let output = ''
    createInterface(child.stdout as NonNullable<typeof child.stdout>).on('line', (line) => {
      output += `${line}\n`
      if (line.endsWith(' ready.')) ready.resolve()
    })
    child.once('exit', () => ready.reject(new Error(`${NGIRCD} ended:\n${output}`)))
    try {
      await within(PATIENCE_SECONDS, ready.promise, 'no IRC server')
      return server
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
}

/** Somebody on IRC. */
export class IrcUser implements Disposable {
  readonly #socket: Socket
  readonly #lines: string[] = []
  #look: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    createInterface(socket).on('line', (line) => {
      if (line.startsWith('PING ')) this.says(line.replace('PING', 'PONG'))
      this.#lines.push(line)
      this.#look()
    })
  }

  static async connect({ port }: Ngircd, nick: string): Promise<IrcUser> {
    const socket = connect({ host: HOST, port })
    await once(socket, 'connect')
    const user = new IrcUser(socket)
    user.says(`NICK ${nick}`, `USER ${nick} 0 * :${nick}`)
    await user.hears(/ 001 /)
    return user
  }

  says(...lines: readonly string[]): void {
    for (const line of lines) this.#socket.write(`${line}\r\n`)
  }

  /** Takes the first line that fits, now or once it comes. */
  async hears(pattern: RegExp): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    this.#look = () => {
      const index = this.#lines.findIndex((line) => pattern.test(line))
      if (index >= 0) resolve(this.#lines.splice(index, 1)[0] as string)
    }
    this.#look()
    try {
      return await within(PATIENCE_SECONDS, promise, `wanted ${pattern}`)
    } catch (error) {
      throw new Error(`${error}, got\n${this.#lines.join('\n')}`)
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}
