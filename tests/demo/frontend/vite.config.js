import { defineConfig } from "vite";

export default defineConfig({
  server: {
    host: "127.0.0.1",
    port: 3000,
    strictPort: true, // a taken port must be an error, not a silent 3001
    proxy: { "/api": "http://127.0.0.1:8000" },
  },
});
