/**
 * The admin page in a real browser. `SCREENSHOTS=directory` keeps pictures of each view, for people to
 * look at.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { tokenFor } from '../support/api.ts'
import { Browser, skipWithoutBrowser } from '../support/browser.ts'
import type { Client } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'
import { DOMAIN, OTHER } from './cases.ts'

const VIEWS = ['Route', 'Trace', 'Sessions', 'Connections', 'Accounts', 'Modules']
const SIZES = {
  phone: { width: 360, height: 740 },
  desktop: { width: 1280, height: 800 },
} as const
const pictures = process.env.SCREENSHOTS

describe('the admin page', { skip: skipWithoutBrowser }, () => {
  let server: TestServer
  let browser: Browser
  let page: Page
  let alice: Client
  let bob: Client

  before(async () => {
    server = await startServer({ domains: [DOMAIN, OTHER], http: {}, component: {} })
    ;[browser, alice, bob] = await Promise.all([
      Browser.open(),
      server.connect('alice', 'phone'),
      server.connect('bob', 'desk'),
    ])
    page = browser.page
  })
  after(async () => {
    await browser[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  const logIn = async (token: string) => {
    await page.getByLabel('Token').fill(token)
    await page.getByRole('button', { name: 'Log in' }).click()
  }
  const opens = async (name: string) => {
    await page.getByRole('link', { name, exact: true }).click()
    await page.getByRole('heading', { level: 1, name }).waitFor()
  }
  const isShown = (text: string) => page.getByText(text).first().waitFor()
  const dialog = () => page.getByRole('dialog')
  const row = (name: string) => page.getByRole('row').filter({ hasText: name })

  test('lets nobody in with a wrong token, and complains of nothing else', async () => {
    await page.goto(`${server.urlOf()}/admin`)
    assert.equal(page.url(), `${server.urlOf()}/admin/`)
    await logIn('meerkat_000000000000.x')
    await isShown('This token is not good.')
    // The browser tells of each answer that is an error.
    assert.deepEqual(
      browser.complaints.splice(0).filter((text) => !text.includes('401')),
      [],
    )
  })

  test('shows the route as stanzas pass', async () => {
    await logIn(await tokenFor(server, 'admin'))
    await page.getByRole('heading', { level: 1, name: 'Route' }).waitFor()
    await isShown('Live.')
    const delivered = page.getByRole('row').filter({ hasText: 'delivered' }).first()
    const stage = page.getByRole('group', { name: 'Clients in' })
    await stage.waitFor()
    const before = Number.parseInt((await stage.locator('.total').textContent()) ?? '', 10)
    for (let i = 0; i < 5; i++) alice.send(chat(bob.bareJid, `message ${i}`))
    await stage.getByText(`${before + 5} in all`).waitFor()
    await delivered.waitFor()
  })

  test('shows the steps of a message, and what is in it only if asked', async () => {
    await opens('Trace')
    await page.getByLabel('Account, resource or domain').fill(alice.bareJid)
    await page.getByRole('button', { name: 'Follow' }).click()
    await isShown(`Following ${alice.bareJid}`)
    alice.send(chat(bob.bareJid, 'But soft'))
    const first = page.locator('.trace summary').first()
    await first.getByText('delivered by sm').waitFor()
    await first.click()
    await page.getByRole('cell', { name: 'route localdomain' }).waitFor()
    assert.equal(await page.getByText('But soft').count(), 0)
    await page.getByLabel('Show what is in messages').check()
    await page.getByRole('button', { name: 'Follow' }).click()
    await isShown(`Following ${alice.bareJid}`)
    alice.send(chat(bob.bareJid, 'what light <img src=x onerror=alert(1)>'))
    await first.click()
    await isShown('what light')
  })

  test('ends a session', async () => {
    await opens('Sessions')
    const carol = await server.connect('carol', 'tablet')
    await page.getByLabel('Search').fill('CAROL')
    await row(carol.fullJid).waitFor()
    await row(alice.fullJid).waitFor({ state: 'detached' })
    await page.getByRole('button', { name: `End the session ${carol.fullJid}` }).click()
    await dialog().getByRole('button', { name: 'End session' }).click()
    await carol.receivesStreamError('policy-violation')
    await row(carol.fullJid).waitFor({ state: 'detached' })
  })

  test('shows nodes and components', async () => {
    const component = await server.connectComponent('gateway.example.net')
    await opens('Connections')
    await row('gateway.example.net').waitFor()
    await row('local (this one)').waitFor()
    await isShown('No connections to other servers.')
    await component.leaves()
    await row('gateway.example.net').waitFor({ state: 'detached' })
  })

  test('registers, changes and removes accounts', async () => {
    await opens('Accounts')
    await page.getByRole('button', { name: 'Register an account' }).click()
    await dialog().getByLabel('Account').fill(alice.bareJid)
    await dialog().getByLabel('Password').fill('secret')
    await dialog().getByRole('button', { name: 'Register' }).click()
    await isShown('exists already')
    const nurse = `nurse@${DOMAIN}`
    await dialog().getByLabel('Account').fill(nurse)
    await dialog().getByLabel('Password').fill('secret')
    await page.keyboard.press('Enter')
    await isShown(`${nurse} is registered`)
    await row(nurse).getByRole('button', { name: 'Disable' }).click()
    await dialog().getByRole('button', { name: 'Disable' }).click()
    await row(nurse).getByText('disabled').waitFor()
    // What cannot be undone is not what Enter does.
    await row(nurse).getByRole('button', { name: 'Remove' }).click()
    await page.keyboard.press('Enter')
    await dialog().waitFor({ state: 'detached' })
    await row(nurse).getByRole('button', { name: 'Remove' }).click()
    await dialog().getByRole('button', { name: 'Remove for good' }).click()
    await row(nurse).waitFor({ state: 'detached' })
    // 409 for the account that was there.
    assert.deepEqual(
      browser.complaints.splice(0).filter((text) => !text.includes('409')),
      [],
    )
  })

  test('can be used by everybody, on small and large screens, by day and night', async () => {
    await page.addInitScript(axe.source)
    await page.reload()
    const problems: string[] = []
    for (const name of VIEWS) {
      await opens(name)
      if (name === 'Trace') {
        await page.getByLabel('Account, resource or domain').fill(alice.bareJid)
        await page.getByRole('button', { name: 'Follow' }).click()
        await isShown(`Following ${alice.bareJid}`)
        alice.send(chat(bob.bareJid, 'It is my lady'))
        await page.locator('.trace summary').first().click()
      } else if (name === 'Route') await isShown('Live.')
      else await page.getByRole('row').nth(1).waitFor()
      problems.push(...(await problemsOf(name)))
    }
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Token').waitFor()
    problems.push(...(await problemsOf('Login')))
    assert.deepEqual(problems, [])
    assert.deepEqual(browser.complaints, [])
  })

  test('shows only what a token is good for, and forgets it', async () => {
    const { token, id } = await server.server.tokens.create({
      name: 'warden',
      role: 'domain-admin',
      domains: [OTHER],
      expiresAt: undefined,
    })
    await logIn(token)
    await page.getByRole('heading', { level: 1, name: 'Trace' }).waitFor()
    const views = await page.getByRole('navigation').getByRole('link').allTextContents()
    assert.deepEqual(views, ['Trace', 'Sessions', 'Accounts'])
    await opens('Accounts')
    assert.deepEqual(await page.getByLabel('Domain').locator('option').allTextContents(), [OTHER])
    await isShown('No accounts.')
    await server.server.tokens.revoke(id)
    await page.getByRole('link', { name: 'Sessions' }).click()
    await isShown('not good any more')
    await logIn(await tokenFor(server, 'read-only'))
    await opens('Sessions')
    await row(alice.fullJid).waitFor()
    assert.equal(await page.getByRole('button', { name: 'End', exact: true }).count(), 0)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.reload()
    await page.getByLabel('Token').waitFor()
    assert.equal(await page.evaluate('sessionStorage.length'), 0)
  })

  /** What is wrong with what is shown now, in every look that it has. */
  async function problemsOf(name: string): Promise<string[]> {
    const problems: string[] = []
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport)
      for (const colorScheme of ['light', 'dark'] as const) {
        const where = `${name}-${size}-${colorScheme}`
        await page.emulateMedia({ colorScheme })
        // All but colours are the same by night.
        const rules = colorScheme === 'light' ? '' : `, runOnly: ['cat.color']`
        const options = `{ resultTypes: ['violations'], preload: false${rules} }`
        const { violations } = (await page.evaluate(`axe.run(${options})`)) as axe.AxeResults
        for (const { id, nodes } of violations) {
          problems.push(`${where}: ${id} ${nodes.map(({ html }) => html).join(' ')}`)
        }
        const wide = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
        if (Number(wide) > 0) problems.push(`${where}: ${wide} pixels too wide`)
        if (pictures !== undefined) {
          await page.screenshot({ path: join(pictures, `${where}.png`), fullPage: true })
        }
      }
    }
    return problems
  }
})
