extern "C" __global__ void __launch_bounds__(1024)
sum_70x513(const float* __restrict__ a0, float* __restrict__ a1) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    __shared__ __align__(16) float s0_shared[1024];
    float s0 = 0.0f;
    #pragma unroll
    for (int j0u = 0; j0u < 4; j0u++) {
        const float t0_ = a0[((j0u * 8960) + ((local_0 >> 3) * 70)) + min((group_0 * 8) + (local_0 & 7), 69)];
        s0 = s0 + (t0_ * t0_);
    }
    const int i0_ = local_0 >> 3;
    const bool m0_ = i0_ < 1;
    if (m0_) {
        const float t1_ = a0[((i0_ * 70) + min((group_0 * 8) + (local_0 & 7), 69)) + 35840];
        s0 = s0 + (t1_ * t1_);
    }
    s0_shared[local_0] = s0;
    __syncthreads();
    if (i0_ < 64) {
        s0 = s0 + s0_shared[local_0 + 512];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    if (i0_ < 32) {
        s0 = s0 + s0_shared[local_0 + 256];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    if (i0_ < 16) {
        s0 = s0 + s0_shared[local_0 + 128];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    if (i0_ < 8) {
        s0 = s0 + s0_shared[local_0 + 64];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    if (i0_ < 4) {
        s0 = s0 + s0_shared[local_0 + 32];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    if (i0_ < 2) {
        s0 = s0 + s0_shared[local_0 + 16];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    if (m0_) {
        s0 = s0 + s0_shared[local_0 + 8];
        s0_shared[local_0] = s0;
    }
    __syncthreads();
    const int i1_ = local_0 & 7;
    s0 = s0_shared[i1_];
    if (i0_ == 0) {
        const int i2_ = (group_0 * 8) + i1_;
        if (i2_ < 70) a1[min(i2_, 69)] = s0;
    }
}
