"""What firmware and boot loaders start: PE programs, GRUB core images, kernels, initrds."""
