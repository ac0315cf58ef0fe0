import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The address of a running node, for `npm run dev`.
const node = process.env['KEEPWATCH_NODE'] ?? 'https://localhost:8443';

export default defineConfig({
  plugins: [svelte()],
  // Relative, so that a reverse proxy may serve the console below another path.
  base: './',
  build: {
    target: 'es2022',
    outDir: 'dist',
    // data: addresses would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: { '/api': { target: node, secure: false, ws: true, changeOrigin: true } },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
