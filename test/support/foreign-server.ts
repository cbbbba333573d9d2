import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Credential } from '../../src/connection/certificate.ts'
import { writePem } from './certificates.ts'
import { Client } from './client.ts'
import type { Internet } from './federation.ts'
import { freePort } from './free-port.ts'
import { pause } from './pause.ts'
import { PASSWORD } from './server.ts'

const PATIENCE_MS = 120_000

/** Where another program's server is, and what it shows. */
export type Place = {
  readonly domain: string
  /** Of its own. */
  readonly directory: string
  /** PEM files: certificate and key in one; the authority that all trust. */
  readonly certificate: string
  readonly ca: string
  /** Address and port. */
  readonly dns: string
  readonly address: string
  readonly serverPort: number
  readonly clientPort: number
}

export type Launch = {
  readonly command: readonly [string, ...string[]]
  readonly environment?: Readonly<Record<string, string>>
}

/** A server of others, as operators run it, in a process of its own. */
export class ForeignServer implements AsyncDisposable {
  readonly place: Place
  readonly #launch: Launch
  #child: ChildProcess
  readonly #clients: Client[] = []
  /** What it printed. */
  log = ''

  private constructor(place: Place, launch: Launch) {
    this.place = place
    this.#launch = launch
    this.#child = this.#spawn()
  }

  #spawn(): ChildProcess {
    const [program, ...options] = this.#launch.command
    const child = spawn(program, options, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#launch.environment },
    })
    for (const output of [child.stdout, child.stderr]) {
      output.on('data', (text) => {
        this.log += text
      })
    }
    return child
  }

  /**
   * Part of `internet`. `prepare` writes what it needs and says how to start it. It shows `certificate`, or
   * one that the authority vouches for.
   */
  static async start(
    internet: Internet,
    domain: string,
    prepare: (place: Place) => Promise<Launch>,
    certificate: Pick<Credential, 'pem'> = internet.certify(domain),
  ): Promise<ForeignServer> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-foreign-'))
    const address = '127.0.0.100'
    const place: Place = {
      domain,
      directory,
      certificate: await writePem(directory, 'certificate', certificate),
      ca: internet.ca,
      dns: internet.dns.address,
      address,
      serverPort: await freePort(address),
      clientPort: await freePort('127.0.0.1'),
    }
    const server = new ForeignServer(place, await prepare(place))
    try {
      await server.#isUp()
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
    internet.locateAt(domain, address, place.serverPort)
    return server
  }

  /** A connection up to the features. */
  async open(): Promise<Client> {
    const { domain, clientPort } = this.place
    const client = await Client.open({ host: '127.0.0.1', port: clientPort, domain })
    this.#clients.push(client)
    await client.startStream()
    return client
  }

  /** Not available yet. The account must be there, with the password of the tests. */
  async bind(localpart: string, resource: string): Promise<Client> {
    const client = await this.open()
    await client.authenticate({ localpart, password: PASSWORD, mechanism: 'PLAIN' })
    await client.bind(resource)
    return client
  }

  /** As `bind`; available. */
  async connect(localpart: string, resource: string): Promise<Client> {
    const client = await this.bind(localpart, resource)
    await client.becomesAvailable()
    return client
  }

  /** At once, in the midst of whatever it does. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  /** Resolves when it hangs: its connections stay, and nothing answers. */
  async pause(): Promise<void> {
    assert.ok(this.#child.pid, 'it runs')
    await pause(this.#child.pid)
  }

  /** After `pause`. */
  goOn(): void {
    this.#child.kill('SIGCONT')
  }

  /** After it was killed: with all that it had written down. */
  async startAgain(): Promise<void> {
    this.#child = this.#spawn()
    await this.#isUp()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]()
    await this.kill()
    await rm(this.place.directory, { recursive: true, force: true })
  }

  async #isUp(): Promise<void> {
    const { address, serverPort, clientPort } = this.place
    await this.#listensOn(address, serverPort)
    await this.#listensOn('127.0.0.1', clientPort)
  }

  async #listensOn(host: string, port: number): Promise<void> {
    const end = Date.now() + PATIENCE_MS
    while (!(await answers(host, port))) {
      if (this.#child.exitCode !== null || Date.now() > end) {
        throw new Error(`it did not start: ${this.log}`)
      }
      await delay(50)
    }
  }
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
