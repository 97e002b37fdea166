// The shop in a real browser: node browser.mjs URL CHROMIUM PICTURE. Buys one thing after the other until there were
// three failovers or more, and looks whether the page shows all of them. Ends with a picture of the page.
import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

const [url, executablePath, picture] = process.argv.slice(2)
const FAILOVERS = 3
const SECONDS_MAX = 60
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

const browser = await chromium.launch({ executablePath, args: FLAGS })
const complaints = []
const open = async () => {
  const context = await browser.newContext({ viewport: { width: 760, height: 640 } })
  const page = await context.newPage()
  page.on('pageerror', error => complaints.push(error.message))
  page.on('response', response => { if (response.status() >= 400) complaints.push(`${response.url()}: ${response.status()}`) })
  await page.goto(url)
  return page
}

const page = await open()
assert.match(await page.locator('footer').innerText(), /server \d+ answers/)
console.log('it is open')

const bought = { apple: 0, bread: 0, cheese: 0 }
const until = Date.now() + SECONDS_MAX * 1000
let footer = ''
while (!(Number(footer.match(/failovers: (\d+)/)?.[1]) >= FAILOVERS)) {
  assert(Date.now() < until, `too few failovers: ${footer}`)
  const ware = Object.keys(bought)[(bought.apple + bought.bread + bought.cheese) % 4 % 3]
  await page.locator(`form[action="/cart/${ware}"] button`).click()
  bought[ware] += 1
  await page.locator('li', { hasText: `${ware}: ${bought[ware]} in your cart` }).waitFor({ timeout: 10_000 })
  footer = await page.locator('footer').innerText()
}
for (const [ware, count] of Object.entries(bought)) {
  await page.locator('li', { hasText: `${ware}: ${count} in your cart` }).waitFor({ timeout: 1_000 })
}

// Somebody else comes: the first one sees it without asking.
await open()
await page.locator('#live', { hasText: 'somebody looks at the shop' }).waitFor({ timeout: 5_000 })
await page.screenshot({ path: picture })
assert.deepEqual(complaints, [])
console.log(`bought ${JSON.stringify(bought)}; ${footer}`)
await browser.close()
