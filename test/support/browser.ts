/** A real browser without a window, for pages that the server serves. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { missing } from './real-client.ts'

const CHROMIUM = '/usr/bin/chromium'

export const skipWithoutBrowser = missing(CHROMIUM)

/** It asks nobody but the page's server for anything. */
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A busy machine may take long to look at a page from all sides. */
const PATIENCE_MS = 30_000

export class Browser implements AsyncDisposable {
  readonly page: Page
  /** Errors that pages told of: on the console, thrown, or against their policy. */
  readonly complaints: string[] = []
  readonly #context: BrowserContext
  readonly #directory: string

  private constructor(context: BrowserContext, page: Page, directory: string) {
    this.#context = context
    this.page = page
    this.#directory = directory
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') {
        this.complaints.push(message.text())
      }
    })
    page.on('pageerror', (error) => this.complaints.push(String(error)))
  }

  static async open(): Promise<Browser> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-browser-'))
    const context = await chromium.launchPersistentContext(directory, {
      executablePath: CHROMIUM,
      headless: true,
      args: ARGUMENTS,
      viewport: { width: 1280, height: 800 },
      reducedMotion: 'reduce',
    })
    context.setDefaultTimeout(PATIENCE_MS)
    const page = context.pages()[0] ?? (await context.newPage())
    return new Browser(context, page, directory)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close()
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5 })
  }
}
